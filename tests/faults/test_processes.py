"""Processes that are killed, hang, or are told to stop."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.faults.asking import LONG, PROCESSES, TINY
from tests.serving import (
    START_SECONDS,
    children,
    door_of,
    running,
    wait_for,
    wait_for_none,
    worker_of,
)

pytestmark = PROCESSES


def test_a_worker_killed_on_the_way_is_replaced_and_its_request_answered(
    client: httpx.Client, session: int
) -> None:
    first = worker_of(session)
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(client.post, "/predict", json=LONG) for _ in range(4)]
        time.sleep(0.2)
        os.kill(first, signal.SIGKILL)
        wait_for(client, 503)  # the live state
        answers = [job.result() for job in work]
    assert [answer.status_code for answer in answers] == [200] * 4
    wait_for(client, 200)
    assert client.post("/predict", json=TINY).status_code == 200  # ready, and no sooner said so
    assert worker_of(session) != first


def test_a_stream_that_breaks_says_so(client: httpx.Client, session: int) -> None:
    body = {**LONG, "fields": ["mc_error"]}
    with client.stream("POST", "/predict/stream", json=body) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: estimate"
        os.kill(worker_of(session), signal.SIGKILL)
        events = [line for line in lines if line.startswith("event")]
    assert events[-1] == "event: error"


def test_a_worker_that_hangs_is_replaced_and_its_requests_answered(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it is a process still, whose socket takes requests."""
    monkeypatch.setenv("MCDROP_PATIENCE", "3")
    with running(root, "--workers", "2") as (server, http, log):
        wait_for(http, 200)
        hung = worker_of(server.pid)
        os.kill(hung, signal.SIGSTOP)
        with ThreadPoolExecutor(8) as pool:
            hurried = [
                pool.submit(http.post, "/predict", json=TINY, headers={"x-timeout": "1"})
                for _ in range(2)
            ]
            patient = [pool.submit(http.post, "/predict", json=TINY) for _ in range(6)]
            assert [job.result().status_code for job in patient] == [200] * 6
        assert {job.result().status_code for job in hurried} <= {200, 504}
        deadline = time.monotonic() + START_SECONDS
        while hung in children(server.pid):  # the other may have answered everybody before
            assert time.monotonic() < deadline
            time.sleep(0.1)
        log.seek(0)
        assert log.read().count("gives no sign of life: it is killed") == 1
        while http.get("/health").json()["workers"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "mcdrop_worker_restarts_total 1.0" in http.get("/metrics").text


def test_a_dead_api_process_ends_the_server_with_a_failure(root: Path) -> None:
    with running(root) as (server, http, log):
        wait_for(http, 200)
        os.kill(door_of(server.pid), signal.SIGKILL)
        assert server.wait(20) == 1
        wait_for_none(server.pid)
        log.seek(0)
        assert "API process LitServer-0 ended" in log.read()


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_sigterm_drains_with_nothing_lost(root: Path, options: tuple[str, ...]) -> None:
    with running(root, *options) as (server, http, log):
        wait_for(http, 200)
        with ThreadPoolExecutor(3) as pool:
            work = [pool.submit(http.post, "/predict", json=LONG) for _ in range(3)]
            time.sleep(0.1)
            server.terminate()
            wait_for(http, 503)  # not ready, and still answering
            assert [job.result().status_code for job in work] == [200] * 3
        start = time.monotonic()
        assert server.wait(20) == 0
        assert time.monotonic() - start < 12
        wait_for_none(server.pid)
        log.seek(0)
        assert "Traceback" not in log.read()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_sigterm_stops_a_server_that_is_the_first_process(root: Path) -> None:
    """As in a container, where signals without a handler are ignored."""
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody have processes of its own numbers")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mcdrop", "serve", "--repository", root, "--port", str(port)]
    server = subprocess.Popen([*apart, *command], stdout=subprocess.PIPE, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            wait_for(http, 200)
            first = next(
                int(pid)
                for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children")
                .read_text()
                .split()
            )
            os.kill(first, signal.SIGTERM)
            assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()
