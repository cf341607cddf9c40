"""Endless and large bodies, floods, clients that leave, connections that idle."""

import asyncio
import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from mcdrop_service.limits import PENDING
from tests.faults.asking import LONG, PROCESSES, TINY, connect, memory, raw, seconds_of, status_of
from tests.serving import door_of

pytestmark = PROCESSES


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
