"""One server for all attacks, and the proof after each that it is as before."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import mcdrop
from mcdrop_service.keys import make
from tests.models import PEOPLE, random_pixels, save_random_classifier, save_table_model
from tests.serving import children, running, wait_for

PIXELS = random_pixels(2)
KEY, LINE = make("attacker")


class Target:
    """The server under attack.

    Attributes:
        http: a client of it that has a key.
        url: of it.
        pid: of its main process, whose session holds the others.
        log: reads what it has printed.
    """

    def __init__(
        self, http: httpx.Client, pid: int, log: Callable[[], str], expected: np.ndarray
    ) -> None:
        self.http, self.pid, self.log, self.expected = http, pid, log, expected
        self.url = str(http.base_url).rstrip("/")

    def is_well(self) -> None:
        """Answers are given, and right."""
        answer = self.http.post("/predict", json={"inputs": PIXELS.tolist(), "model": "tiny"})
        assert answer.status_code == 200, answer.text
        found = [list(row["probabilities"].values()) for row in answer.json()["predictions"]]
        np.testing.assert_allclose(found, self.expected, rtol=1e-5)
        assert self.http.get("/health").status_code == 200

    def memory(self) -> int:
        """Bytes that its processes hold in memory."""
        pages = 0
        for pid in [self.pid, *children(self.pid)]:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * 4096

    def raw(self, content: bytes, timeout: float = 20) -> bytes:
        """What comes back for these very bytes."""
        with socket.create_connection(("127.0.0.1", self.http.base_url.port), timeout) as wire:
            wire.sendall(content)
            parts = []
            while part := wire.recv(65536):
                parts.append(part)
                if b"\r\n\r\n" in b"".join(parts):
                    break
        return b"".join(parts)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked")
    root = folder / "models"
    save_random_classifier(root)
    save_table_model(root, "people", PEOPLE, classes=("no", "yes"))
    (folder / "secret").mkdir()
    (folder / "secret" / "card.json").write_text("{}")
    config = folder / "server.toml"
    config.write_text(f'keys = ["{LINE}"]\ndeadline = 3.0\nfeedback = "{folder}/feedback.db"\n')
    with running(root, "--config", str(config)) as (process, http, log):

        def read() -> str:
            log.seek(0)
            return log.read()

        wait_for(http, 200)
        http.headers["x-api-key"] = KEY
        expected = mcdrop.load(root / "tiny").predict(PIXELS).mean
        yield Target(http, process.pid, read, expected)
        assert process.poll() is None


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    """The server, which has to be well after every attack, and to have said nothing of itself."""
    yield server
    server.is_well()
    assert "Traceback" not in server.log()


def refused(answer: httpx.Response, *statuses: int) -> str:
    """That an answer refuses as ours do, and what it says."""
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    (said,) = answer.json().values()
    assert 5 < len(said) < 1000
    for inside in ("Traceback", "Error", ".py", "site-packages", "/tmp", "mcdrop_service"):
        assert inside not in said
    return str(said)
