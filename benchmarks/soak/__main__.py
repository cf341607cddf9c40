"""Mixed traffic for ten minutes, while workers are killed and versions are swapped.

What is lost or wrong is counted, and the memory of all processes is watched.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import report
from benchmarks.service.model import NAME, save
from benchmarks.soak.traffic import Soak, Truth

__all__ = ["soak"]

THREADS = 6


def every(seconds: float, done: threading.Event, do: Callable[[], None]) -> threading.Thread:
    """Do something again and again, in a thread."""

    def live() -> None:
        while not done.wait(seconds):
            do()

    thread = threading.Thread(target=live)
    thread.start()
    return thread


def processes(session: int) -> dict[int, str]:
    """Command lines of a session's processes."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3]) == session:
                found[int(folder.name)] = (folder / "cmdline").read_text()
    return found


def memory(session: int) -> float:
    """MiB that a session's processes hold, shared pages shared out."""
    total = 0
    for pid in processes(session):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1024


@contextlib.contextmanager
def served(root: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Our server with two workers."""
    command = [sys.executable, "-m", "mcdrop", "serve", "--repository", str(root)]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "2"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.2)
        yield server
    finally:
        server.terminate()
        server.wait(30)


def soak(seconds: float, kill: float, swap: float) -> dict[str, Any]:
    """Run; what was seen, and memory in MiB at a quarter of the time and at its end."""
    with tempfile.TemporaryDirectory() as place:
        root, elsewhere = Path(place) / "models", Path(place) / "new"
        truth = Truth()
        truth.learn(save(root), 1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with served(root, port) as server:
            run = Soak(port, truth, 0)

            def murder() -> None:
                workers = [p for p, line in processes(server.pid).items() if "spawn_main" in line]
                if workers:
                    os.kill(random.choice(workers), signal.SIGKILL)

            def change() -> None:
                versions = sorted(int(folder.name) for folder in (root / NAME).iterdir())
                following = versions[-1] + 1
                new = save(elsewhere / str(following), seed=following)
                truth.learn(new, following)
                new.rename(root / NAME / str(following))  # all of it at once
                for old in versions[:-2]:
                    shutil.rmtree(root / NAME / str(old))

            threads = [threading.Thread(target=run.live) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            threads += [every(kill, run.done, murder), every(swap, run.done, change)]
            time.sleep(seconds / 4)
            early = memory(server.pid)
            time.sleep(3 * seconds / 4)
            late = memory(server.pid)
            run.done.set()
            for thread in threads:
                thread.join()
        code = server.returncode
    return {"seen": dict(sorted(run.seen.items())), "early": early, "late": late, "code": code}


def main() -> None:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    found = soak(seconds, kill=30, swap=20)
    rows = [{"outcome": what, "times": times} for what, times in found.pop("seen").items()]
    options = f"--seconds {seconds:g}"
    report("soak", rows, quick=seconds < 600, options=options, seconds=seconds, **found)


if __name__ == "__main__":
    main()
