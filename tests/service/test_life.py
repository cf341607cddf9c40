"""A server's start, its end, and what it leaves behind."""

import os
import signal
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mcdrop
from mcdrop.repository import ModelEntry
from mcdrop_service import scratch
from mcdrop_service.server import greeting, serve
from mcdrop_service.settings import Settings
from tests.models import save_random_classifier
from tests.service.asking import PIXELS, ask
from tests.serving import children, running, wait_for, wait_for_none, worker_of


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no trained model .*: try `mcdrop train digits`"),
        ({"host": "example.org"}, "host: .*'127.0.0.1'.* got 'example.org'"),
        ({"port": 80}, "port: .*1024, got 80"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(mcdrop.errors.McdropError, match=said):
        serve(tmp_path, **options)


def test_versions_that_are_named_and_not_there_are_told() -> None:
    settings = Settings(pin={"tiny": 2, "other": 1}, shadow={"tiny": 3})
    told = greeting(settings, [ModelEntry("tiny", (1, 2))]).splitlines()
    assert told[1] == "no such version yet: pin.other=1, shadow.tiny=3"
    assert "serving tiny on" in told[2]
    assert len(greeting(Settings(), [ModelEntry("tiny", (1, 2))]).splitlines()) == 2


def test_a_start_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_classifier(tmp_path / "models")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for wrong in ({"keys": ("alice:x",)}, {"adaptive": 0.1}, {"feedback": tmp_path}):
        with pytest.raises(mcdrop.errors.InputError):
            serve(tmp_path / "models", **wrong)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc")
def test_a_killed_worker_is_replaced_and_ctrl_c_drains(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    with running(tmp_path) as (server, http, log):
        wait_for(http, 200)
        os.kill(worker_of(server.pid), signal.SIGKILL)
        wait_for(http, 503)
        wait_for(http, 200)
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(ask, http, inputs=PIXELS * 300, samples=1000)
            time.sleep(0.2)
            os.killpg(server.pid, signal.SIGINT)  # as a terminal does
            assert work.result().status_code == 200
        assert server.wait(15) == 0
        wait_for_none(server.pid)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", http.base_url.port))
        log.seek(0)
        assert len(log.read().splitlines()) == 2  # the settings and the greeting


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc")
def test_a_server_that_is_killed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes end with it, and the next server takes its folders away."""
    save_random_classifier(tmp_path)
    place = tmp_path / "t"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    with running(tmp_path) as (server, http, _):
        wait_for(http, 200)
        assert len(children(server.pid)) >= 3
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        scratch.remove_orphans()
        assert len(list(place.glob("mcdrop-*"))) == 2  # metrics, and sockets
        assert http.get("/health").status_code == 200
        server.kill()
        server.wait()
        wait_for_none(server.pid)
    scratch.remove_orphans()
    assert not list(place.glob("mcdrop-*"))
