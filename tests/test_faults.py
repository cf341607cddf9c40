"""What breaks stock servers, tried on ours: real processes, real HTTP, all bounded in time."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mcdrop_service.limits import PENDING
from tests.models import random_pixels, save_random_classifier
from tests.serving import (
    START_SECONDS,
    children,
    door_of,
    running,
    wait_for,
    wait_for_none,
    worker_of,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc"),
]

ROW = random_pixels(1).tolist()
TINY = {"inputs": ROW, "model": "tiny"}
# A million passes of 64-256-128-10, whose thinned networks are too many to be kept, take some
# tenths of a second.
LONG = {"inputs": random_pixels(100).tolist(), "model": "heavy", "samples": 10_000}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_random_classifier(folder)
    save_random_classifier(folder, "heavy", hidden=(256, 128))
    return folder


@pytest.fixture(scope="module")
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


def raw(body: dict[str, Any], path: str = "/predict") -> bytes:
    """A whole HTTP request."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_one_bad_item_among_six_fails_alone(client: httpx.Client) -> None:
    bodies = [TINY] * 5 + [{"inputs": [[1.0]], "model": "tiny"}]
    for _ in range(5):
        with ThreadPoolExecutor(6) as pool:
            statuses = [
                r.status_code for r in pool.map(lambda b: client.post("/predict", json=b), bodies)
            ]
        assert statuses == [200] * 5 + [422]


@pytest.mark.parametrize(
    ("content", "status"),
    [(b'{"inputs": [[', 400), (b'{"model": "tiny", "inputs": [[NaN]], "samples": 0}', 422)],
)
def test_malformed_json_and_nan_are_the_callers_fault(
    client: httpx.Client, content: bytes, status: int
) -> None:
    answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])


def test_binary_bodies_and_their_faults(client: httpx.Client) -> None:
    x = np.array(ROW, np.float32)
    kind = {"content-type": "application/octet-stream"}
    query = "/predict?model=tiny&fields=prediction"
    good = client.post(query, content=x.tobytes(), headers=kind | {"x-shape": "1,64"})
    plain = client.post("/predict", json={**TINY, "fields": ["prediction"]})
    assert good.json() == plain.json()
    short = client.post(query, content=x.tobytes()[:-1], headers=kind)
    assert (short.status_code, "4 bytes a number" in short.json()["detail"]) == (422, True)


def test_the_openapi_page_stands(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert "PredictRequest" in schema["components"]["schemas"]


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def seconds_of(session: int) -> float:
    """Processor time of the live processes of a session."""
    ticks = 0
    for pid in [session, *children(session)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_an_endless_body_takes_neither_memory_nor_the_loop(
    client: httpx.Client, url: str, session: int
) -> None:
    before = memory(door_of(session))
    slowest = 0.0
    done = threading.Event()

    def look() -> None:
        nonlocal slowest
        with httpx.Client(base_url=url) as other:
            while not done.is_set():
                start = time.monotonic()
                assert other.get("/health/live").status_code == 200
                slowest = max(slowest, time.monotonic() - start)

    watcher = threading.Thread(target=look)
    watcher.start()
    pieces = (b" " * 2**20 for _ in range(200))
    kind = {"content-type": "application/json"}
    with contextlib.suppress(httpx.TransportError):  # it is told while it is still sending
        assert client.post("/predict", content=pieces, headers=kind).status_code == 413
    done.set()
    watcher.join()
    assert memory(door_of(session)) - before < 100 * 2**20
    assert slowest < 1.5


def test_a_large_body_is_parsed_away_from_the_loop(url: str) -> None:
    """15 MiB of JSON keep a worker busy, and health answers meanwhile."""
    content = json.dumps({"inputs": [[0.1234567] * 64] * 4096 * 5, "model": "tiny"}).encode()
    slowest, answered = 0.0, threading.Event()

    def post() -> int:
        kind = {"content-type": "application/json"}
        status = httpx.post(f"{url}/predict", content=content, headers=kind, timeout=30).status_code
        answered.set()
        return status

    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=url) as http:
        work = pool.submit(post)
        while not answered.is_set():
            start = time.monotonic()
            assert http.get("/health/live").status_code == 200
            slowest = max(slowest, time.monotonic() - start)
        assert work.result() == 422  # too many rows
    assert slowest < 0.5


def test_a_flood_is_refused_and_health_answers(url: str, client: httpx.Client) -> None:
    async def one(request: bytes) -> bytes:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        writer.close()
        return head

    async def flood() -> tuple[list[bytes], float]:
        few = {**LONG, "inputs": LONG["inputs"][:1], "samples": 9000}
        tasks = [asyncio.create_task(one(raw(few))) for _ in range(PENDING + 200)]
        await asyncio.sleep(0.5)
        start = time.monotonic()
        health = await one(b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n")
        assert status_of(health) == 200
        took = time.monotonic() - start
        return await asyncio.gather(*tasks), took

    heads, took = asyncio.run(flood())
    statuses = [status_of(head) for head in heads]
    assert set(statuses) == {200, 503}
    assert statuses.count(503) <= 200
    assert all(b"retry-after: 1" in h for h, s in zip(heads, statuses, strict=True) if s == 503)
    assert took < 5
    assert client.post("/predict", json=TINY).status_code == 200


def test_clients_that_left_cost_nothing_more(url: str, client: httpx.Client) -> None:
    client.post("/predict", json=LONG)  # its thinned networks are made
    start = time.monotonic()
    assert client.post("/predict", json=LONG).status_code == 200
    one = time.monotonic() - start
    for _ in range(60):
        with connect(url) as leaving:
            leaving.sendall(raw(LONG))
    time.sleep(0.3)
    start = time.monotonic()
    assert client.post("/predict", json=TINY).status_code == 200
    assert time.monotonic() - start < max(2.0, 10 * one)  # of 60


def test_idle_connections_keep_nobody_out(url: str, client: httpx.Client) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(url)) for _ in range(PENDING + 50)]
        for place in idle:
            place.sendall(b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n")
        assert all(b"200 OK" in place.recv(4096) for place in idle)
        assert client.post("/predict", json=TINY).status_code == 200


def test_no_answer_comes_after_its_deadline(client: httpx.Client) -> None:
    client.post("/predict", json=LONG)
    late = []
    for _ in range(3):  # the machine may be busy once
        with ThreadPoolExecutor(12) as pool:
            for _ in range(11):
                pool.submit(client.post, "/predict", json=LONG, headers={"x-timeout": "1"})
            time.sleep(0.05)
            start = time.monotonic()
            answer = client.post("/predict", json=LONG, headers={"x-timeout": "0.2"})
            late.append(time.monotonic() - start - 0.2)
        assert answer.status_code == 504
        assert "time allowed" in answer.json()["detail"]
    assert min(late) < 0.1
    assert client.post("/predict", json=TINY).status_code == 200


def test_every_answer_names_its_request(client: httpx.Client) -> None:
    ids = {client.post("/predict", json=TINY).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


def test_a_server_without_work_rests_and_a_lone_request_waits_for_no_batch(
    client: httpx.Client, session: int
) -> None:
    client.post("/predict", json=TINY)
    times = []
    for _ in range(50):
        start = time.monotonic()
        assert client.post("/predict", json=TINY).status_code == 200
        times.append(time.monotonic() - start)
    assert min(times) < 0.008
    before = seconds_of(session)
    time.sleep(4)
    assert seconds_of(session) - before < 0.25 * 4  # all processes together


def test_a_stream_ends_when_its_client_leaves(client: httpx.Client, url: str) -> None:
    for _ in range(20):
        with connect(url) as place:
            place.sendall(raw({**LONG, "fields": ["mc_error"]}, "/predict/stream"))
            assert b"200" in place.recv(100)
    start = time.monotonic()
    assert client.post("/predict", json=TINY).status_code == 200
    assert time.monotonic() - start < 2


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
