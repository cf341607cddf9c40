"""Requests, connections, and what processes take."""

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.models import random_pixels
from tests.serving import children

PROCESSES = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc"),
]
ROW = random_pixels(1).tolist()
TINY = {"inputs": ROW, "model": "tiny"}


# A million passes of 64-256-128-10, whose thinned networks are too many to be kept, take some
# tenths of a second.
LONG = {"inputs": random_pixels(100).tolist(), "model": "heavy", "samples": 10_000}


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
