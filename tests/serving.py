"""A real server process for tests: started on a free port, stopped by its own pid."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import httpx

START_SECONDS = 60


@contextlib.contextmanager
def serving(repository: Path, command: Sequence[str | Path] = ()) -> Iterator[str]:
    """The base URL of ``mcdrop serve`` over ``repository``, as long as the context lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    program = list(command) or [sys.executable, "-m", "mcdrop"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*program, "serve", "--repository", repository, "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_healthy(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()
                process.wait()


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: TextIO) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise RuntimeError(f"the server ended early: {log.read()}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(f"no healthy server at {url} after {START_SECONDS} s")
