"""What commands cost before they do anything: processor time, beside that of importing PyTorch.

Each is a process of its own, its files in the system's cache; of `mcdrop serve` all processes
count, with one worker, until it answers that it is ready. Rounds are interleaved, medians
reported. The network is 784-256-128-10, and one row is predicted.
"""

import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import arguments, report
from benchmarks.service.__main__ import ROW, Server, wait
from benchmarks.service.model import save

BASELINE = "import torch"


def cost(command: Sequence[str]) -> float:
    """Seconds of processor time that a command takes, from start to end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start(root: str) -> float:
    """Seconds of processor time that a server's processes take until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mcdrop", "serve", "--repository", root, "--port", str(port)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    server = Server("mcdrop serve", port, process)
    try:
        wait(server)
        return server.cpu()
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and report."""
    quick = arguments(__doc__ or "").quick
    with tempfile.TemporaryDirectory() as root:
        save(Path(root))
        mcdrop, place = ("-m", "mcdrop"), ("--repository", root)
        cases: dict[str, Callable[[], float]] = {
            BASELINE: partial(cost, ("-c", "import torch")),
            "mcdrop --help": partial(cost, (*mcdrop, "--help")),
            "mcdrop models": partial(cost, (*mcdrop, "models", *place)),
            "mcdrop info": partial(cost, (*mcdrop, "info")),
            "mcdrop predict": partial(cost, (*mcdrop, "predict", json.dumps(ROW.tolist()), *place)),
            "mcdrop serve": partial(start, root),
        }
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for turn in range(2 if quick else 10):
            for name, case in cases.items():
                seconds = case()
                if turn:  # the first fills the system's cache
                    taken[name].append(seconds)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    rows = [
        {"command": name, "seconds": median, "of import torch": median / medians[BASELINE]}
        for name, median in medians.items()
    ]
    report("start", rows, quick=quick)


if __name__ == "__main__":
    main()
