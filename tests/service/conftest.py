"""A real server of a few untrained models."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.models import save_models, save_random_classifier, sicken
from tests.serving import serving


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_models(folder)
    sicken(save_random_classifier(folder, "sick"))
    return folder


@pytest.fixture(scope="package")
def client(root: Path) -> Iterator[httpx.Client]:
    with serving(root) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http
