"""A server that most of these tests share, and what they do to it: it has to bear that."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.models import save_random_classifier
from tests.serving import running, wait_for


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_random_classifier(folder)
    save_random_classifier(folder, "heavy", hidden=(256, 128))
    return folder


@pytest.fixture(scope="package")
def server(root: Path) -> Iterator["tuple[subprocess.Popen[bytes], str]"]:
    """One that most of these tests share, and what they do to it: it has to bear that."""
    with running(root) as (process, http, _):
        wait_for(http, 200)
        yield process, str(http.base_url).rstrip("/")


@pytest.fixture
def session(server: "tuple[subprocess.Popen[bytes], str]") -> int:
    return server[0].pid


@pytest.fixture
def url(server: "tuple[subprocess.Popen[bytes], str]") -> str:
    return server[1]


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as http:
        wait_for(http, 200)
        yield http
