"""Mixed traffic for ten minutes, while workers are killed and versions are swapped.

What is lost or wrong is counted, and the memory of all processes is watched. Always the younger
worker is killed: the other lives all along, and would show what it never gives back.
"""

import argparse
import contextlib
import math
import os
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
from benchmarks.soak.memory import Memory, periods, processes, trend
from benchmarks.soak.traffic import Soak, Truth

__all__ = ["soak"]

THREADS = 6


def every(seconds: float, done: threading.Event, do: Callable[[], None]) -> threading.Thread:
    """Do something again and again, in a thread; however long it takes, as often."""

    def live() -> None:
        due = time.monotonic() + seconds
        while not done.wait(max(0.0, due - time.monotonic())):
            do()
            due += seconds

    thread = threading.Thread(target=live)
    thread.start()
    return thread


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


def soak(seconds: int, kill: int, swap: int) -> dict[str, Any]:
    """Run for ``seconds``, with a kill and a swap every so many.

    Returns:
        ``seen``: how often what happened; ``code``: of the server's exit; ``periods``: MiB held in
        each period but the first, with as many kills and swaps each; ``trend``: MiB a minute.

    Raises:
        ValueError: there is no time for three periods.
    """
    period = math.lcm(kill, swap)
    count = seconds // period
    if count < 3:
        raise ValueError(f"got {seconds} seconds, wanted {3 * period} at least: three periods")
    with tempfile.TemporaryDirectory() as place:
        root, elsewhere = Path(place) / "models", Path(place) / "new"
        truth = Truth()
        truth.learn(save(root), 1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with served(root, port) as server:
            run, memory = Soak(port, truth, 0), Memory(server.pid)

            def murder() -> None:
                workers = [p for p, line in processes(server.pid).items() if "spawn_main" in line]
                for worker in workers[1:]:
                    os.kill(worker, signal.SIGKILL)

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
            deeds = (1, memory.look), (kill, murder), (swap, change)
            threads += [every(pause, run.done, do) for pause, do in deeds]
            time.sleep(count * period)
            run.done.set()
            for thread in threads:
                thread.join()
        code = server.returncode
    held = periods(memory.seen, period, count)
    return {
        "seen": dict(sorted(run.seen.items())),
        "code": code,
        "periods": [each._asdict() for each in held],
        "trend": trend(held, period),
    }


def main() -> None:
    """Run, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    seconds = parser.parse_args().seconds
    found = soak(seconds, kill=30, swap=20)
    rows = [{"outcome": what, "times": times} for what, times in found.pop("seen").items()]
    options = f"--seconds {seconds}"
    report("soak", rows, quick=seconds < 600, options=options, seconds=seconds, **found)


if __name__ == "__main__":
    main()
