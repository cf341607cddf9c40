"""Bytes that are no proper request, and clients that do not behave."""

import contextlib
import socket
import time

import pytest

from tests.attacks.conftest import Target

HOST = b"Host: x\r\n"


def statuses(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/") else 0


def predict(target: Target, *headers: bytes, body: bytes = b"{}") -> bytes:
    key = b"X-API-Key: " + target.http.headers["x-api-key"].encode()
    lines = [b"POST /predict HTTP/1.1", HOST.strip(), key, *headers, b"Connection: close"]
    return target.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)


JSON = b"Content-Type: application/json"


@pytest.mark.parametrize(
    "headers",
    [
        [JSON, b"Content-Length: -1"],
        [JSON, b"Content-Length: 99999999999999999999999"],
        [JSON, b"Content-Length: 2", b"Content-Length: 3"],
        [JSON, b"Content-Length: 2", b"Transfer-Encoding: chunked"],
        [JSON, b"Transfer-Encoding: gzip, chunked"],
        [JSON, b"Content-Length: +2"],
        [JSON, b"Content-Length: 0x2"],
        [b"Content-Type: \xff\xfe", b"Content-Length: 2"],
        [b"X-Long: " + b"x" * 200_000, b"Content-Length: 2"],
        [b"X-%d: y" % i for i in range(5000)],
        [b"Bad Header: x"],
        [b"\0: x"],
        [JSON, b"X-Timeout: nan", b"Content-Length: 2"],
        [JSON, b"X-Timeout: -1", b"Content-Length: 2"],
        [JSON, b"X-Timeout: 1e999", b"Content-Length: 2"],
    ],
    ids=lambda headers: repr(headers[-1])[:30],
)
def test_headers_that_lie(target: Target, headers: list[bytes]) -> None:
    with contextlib.suppress(ConnectionError):  # to hang up is an answer too
        assert statuses(predict(target, *headers)) in (0, *range(400, 500))


def test_no_header_makes_a_second_answer(target: Target) -> None:
    """A request id comes back in the answer's head: it must not bring line ends along."""
    for given in (b"a\rX-Evil: 1", b"a\x0bb", b"a b", b"\xe9" * 10, b"x" * 5000):
        with contextlib.suppress(ConnectionError):
            answer = predict(target, JSON, b"X-Request-Id: " + given, b"Content-Length: 2")
            assert b"X-Evil" not in answer
            assert given not in answer


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://evil/models HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\n" * 10_000 + b"x\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda content: repr(content)[:30],
)
def test_what_is_no_http(target: Target, content: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        assert statuses(target.raw(content)) in (0, *range(400, 500))


def test_a_body_that_comes_drop_by_drop_is_given_up(target: Target) -> None:
    """The server's deadline is 3 s; others are answered meanwhile."""
    key = target.http.headers["x-api-key"].encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"X-API-Key: " + key + b"\r\nContent-Length: 1000\r\n\r\n"
    port, wires = target.http.base_url.port, []
    for _ in range(20):
        wires.append(socket.create_connection(("127.0.0.1", port), 20))
        wires[-1].sendall(head)
    began = time.monotonic()
    while time.monotonic() - began < 2:
        for wire in wires:
            wire.sendall(b" ")
        target.is_well()
    for wire in wires:
        assert statuses(wire.recv(65536)) == 408
        wire.close()
    assert time.monotonic() - began < 6


def test_clients_that_hang_up_leave_nothing_behind(target: Target) -> None:
    body = b'{"inputs": [%s], "model": "tiny", "samples": 10000}' % b",".join(
        [b"[" + b",".join([b"1"] * 64) + b"]"] * 90
    )
    key = target.http.headers["x-api-key"].encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"X-API-Key: " + key + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", target.http.base_url.port), 20) as wire:
            wire.sendall(head + body)
    time.sleep(0.3)
    began = time.monotonic()
    target.is_well()
    assert time.monotonic() - began < 2  # thirty such evaluations would take far longer
