"""A real server process for tests: started on a free port, stopped by its own pid."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import httpx

START_SECONDS = 180


@contextlib.contextmanager
def serving(
    repository: Path, command: Sequence[str | Path] = (), **settings: object
) -> Iterator[str]:
    """The base URL of ``mcdrop serve`` over ``repository``, as long as the context lasts."""
    variables = {f"MCDROP_{name.upper()}": str(value) for name, value in settings.items()}
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
            env=environment() | variables,
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


def environment() -> dict[str, str]:
    """This process's environment, but for the folder where it counts: a server has its own."""
    return {name: v for name, v in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: TextIO) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=2) as http:  # one: to make a client takes as long as 80 looks
        while time.monotonic() < deadline:
            if process.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"the server ended early: {log.read()}")
            with contextlib.suppress(httpx.HTTPError):
                if http.get(f"{url}/health").status_code == 200:
                    return
            time.sleep(0.05)
    raise TimeoutError(f"no healthy server at {url} after {START_SECONDS} s")


@contextlib.contextmanager
def running(
    repository: Path, *options: str
) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client, TextIO]]:
    """A server in a session of its own, a client of it, and what it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mcdrop", "serve", "--repository", str(repository)]
    with (
        tempfile.TemporaryFile("w+") as log,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
    ):
        server = subprocess.Popen(
            [*command, "--port", str(port), *options],
            stdout=log,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )
        try:
            yield server, http, log
        finally:
            server.kill()
            server.wait()
            for pid in children(server.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def wait_for(http: httpx.Client, status: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if http.get("/health").status_code == status:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"/health never answered {status}")


def wait_for_none(session: int) -> None:
    """Until no process of the session is left; multiprocessing's own end a moment later."""
    deadline = time.monotonic() + 30
    while children(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not children(session)


def children(session: int) -> dict[int, str]:
    """Command lines of the live processes of a session, without its leader."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own, *_ = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            threads = len(list((folder / "task").iterdir()))  # a dead leader's hold its files
            if int(own) == session and (state not in "ZX" or threads > 1):
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
    found.pop(session, None)
    return found


def worker_of(session: int) -> int:
    """The first of the server's workers."""
    return min(pid for pid, line in children(session).items() if "spawn_main" in line)


def door_of(session: int) -> int:
    """The API process: the last of those that LitServe forks."""
    return max(pid for pid, line in children(session).items() if "\0serve\0" in line)
