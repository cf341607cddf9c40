"""A load generator: some connections, each asking again as soon as it is answered.

Reads what to do as JSON from its input and writes what it saw as JSON. One thread and plain
sockets, so that little of the machine it shares with the server is spent on it.
"""

import json
import selectors
import socket
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

__all__ = ["run"]


@dataclass
class Connection:
    """A socket, the answer it is receiving, and when it asked."""

    place: socket.socket
    asked: float = 0.0
    got: bytes = b""


def run(port: int, request: bytes, connections: int, seconds: float) -> dict[str, Any]:
    """Keep asking for some seconds.

    Returns:
        ``answers``: how many; ``rate``: of them a second; ``p50`` and ``p99``: seconds from
        question to answer; ``failed``: answers that were not 200.
    """
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        place = socket.create_connection(("127.0.0.1", port))
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(place)
        selector.register(place, selectors.EVENT_READ, connection)
        connection.asked = time.perf_counter()
        place.sendall(request)
    start = time.perf_counter()
    times: list[float] = []
    failed = 0
    # Who is so slow that nobody has been answered yet gets ten times as long.
    while (now := time.perf_counter()) < start + (seconds if times else 10 * seconds):
        for key, _ in selector.select(1.0):
            connection = key.data
            connection.got += connection.place.recv(1 << 18)
            if not complete(connection.got):
                continue
            now = time.perf_counter()
            failed += connection.got[9:12] != b"200"
            times.append(now - connection.asked)
            connection.got, connection.asked = b"", now
            connection.place.sendall(request)
    for key in list(selector.get_map().values()):
        key.data.place.close()
    times.sort()
    return {
        "answers": len(times),
        "rate": len(times) / (now - start),
        "p50": statistics.median(times) if times else seconds,
        "p99": times[int(0.99 * len(times))] if times else seconds,
        "failed": failed,
    }


def complete(got: bytes) -> bool:
    """Whether a whole answer has come."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return False
    at = got.lower().find(b"content-length:", 0, end)
    length = int(got[at + 15 : got.find(b"\r", at)])
    return len(got) >= end + 4 + length


if __name__ == "__main__":
    task = json.load(sys.stdin)
    task["request"] = bytes.fromhex(task["request"])
    print(json.dumps(run(**task)))
