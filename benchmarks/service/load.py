"""A load generator: some connections, each asking again as soon as it is answered.

Reads what to do as JSON from its input and writes what it saw as JSON. One thread, plain sockets,
and no more work on an answer than to see that all of it has come: what it spends of the machine
that it shares with the server, the server lacks.
"""

import json
import select
import socket
import statistics
import sys
import time
from typing import Any

__all__ = ["run"]

_PART = 1 << 16  # bytes taken at a time; for room for many more, memory is mapped each time


def run(port: int, request: bytes, connections: int, seconds: float) -> dict[str, Any]:
    """Keep asking for some seconds.

    Returns:
        ``answers``: how many; ``rate``: of them a second; ``p50`` and ``p99``: seconds from
        question to answer; ``failed``: answers that were not 200; ``load``: seconds of processor
        time that it took to ask and to see an answer.
    """
    places, asked, parts = {}, {}, dict[int, bytes]()
    ready, clock, spent = select.epoll(), time.perf_counter, time.process_time()
    for _ in range(connections):
        place = _connect(port)
        places[place.fileno()] = place
        ready.register(place, select.EPOLLIN)
        asked[place.fileno()] = clock()
        place.sendall(request)
    start, times, failed = clock(), list[float](), 0
    # Who is so slow that nobody has been answered yet gets ten times as long.
    while (now := clock()) < start + (seconds if times else 10 * seconds):
        for number, _ in ready.poll(1.0):
            got = parts.pop(number, b"") + places[number].recv(_PART)
            if not _complete(got):
                parts[number] = got
                continue
            now = clock()
            failed += not got.startswith(b"HTTP/1.1 200")
            times.append(now - asked[number])
            asked[number] = now
            places[number].sendall(request)
    spent = time.process_time() - spent
    for place in places.values():
        place.close()
    times.sort()
    return {
        "answers": len(times),
        "rate": len(times) / (now - start),
        "p50": statistics.median(times) if times else seconds,
        "p99": times[int(0.99 * len(times))] if times else seconds,
        "failed": failed,
        "load": spent / max(1, len(times)),
    }


def _connect(port: int) -> socket.socket:
    place = socket.create_connection(("127.0.0.1", port))
    place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return place


def _complete(got: bytes) -> bool:
    """Whether a whole answer has come; uvicorn, in both servers, writes names in small letters."""
    end = got.find(b"\r\n\r\n")
    at = got.find(b"content-length:", 0, end)
    return end >= 0 and len(got) >= end + 4 + int(got[at + 15 : got.find(b"\r", at)])


if __name__ == "__main__":
    task = json.load(sys.stdin)
    task["request"] = bytes.fromhex(task["request"])
    print(json.dumps(run(**task)))
