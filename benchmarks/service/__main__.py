"""What a request costs: our server against the one a LitServe user would write, and with itself.

Each server runs in turn, the others stopped by SIGSTOP; a load generator beside it keeps 64
connections busy, or one. Rounds are interleaved and medians reported, because both share the
machine with whatever else runs on it; where the system lets it, what is measured goes before that.
`cpu` is the server's processor time a request, which other programs change least, and `load` that
of the generator, which runs on the same cores. Of the stock application, the best of its batching
settings counts. Bodies: JSON of 784 numbers, or their float32 bytes; answers: JSON of class and
confidence.
"""

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import arguments, report
from benchmarks.service.model import NAME, SAMPLES, save

BATCHING = ((1, 0.0), (64, 0.0), (64, 0.002))
ROW = np.random.default_rng(0).integers(0, 256, 784).astype(np.float32)


@dataclass
class Server:
    """A server's processes, stopped unless they are measured."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def cpu(self) -> float:
        """Seconds of processor time that all of its processes have taken."""
        ticks = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[2]) == self.process.pid:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        """Signal all of its processes."""
        os.killpg(self.process.pid, number)


def requests(body: str) -> tuple[bytes, bytes]:
    """The stock application's request and ours."""
    if body == "json":
        rows = {"inputs": [ROW.tolist()]}
        ours = {**rows, "model": NAME, "fields": ["prediction", "confidence"]}
        kind = "application/json"
        contents = json.dumps(rows).encode(), json.dumps(ours).encode()
        return http("/predict", kind, contents[0]), http("/predict", kind, contents[1])
    kind, path = "application/octet-stream", f"/predict?model={NAME}&fields=prediction,confidence"
    return http("/predict", kind, ROW.tobytes()), http(path, kind, ROW.tobytes())


def http(path: str, kind: str, content: bytes) -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: {kind}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


@contextlib.contextmanager
def started(name: str, module: str, *before: str, after: Sequence[str] = ()) -> Iterator[Server]:
    """A server in a process group of its own; ``{port}`` in its arguments is its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.format(port=port) for word in (*before, *after)]
    command = [sys.executable, "-m", f"benchmarks.service.{module}", *words]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    server = Server(name, port, process)
    try:
        wait(server)
        server.signal(signal.SIGSTOP)
        yield server
    finally:
        server.signal(signal.SIGKILL)
        process.wait()


def wait(server: Server) -> None:
    """Until it answers that it is ready."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"{server.name} ended early")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=2)
            return
        time.sleep(0.2)
    raise TimeoutError(server.name)


def measure(server: Server, request: bytes, connections: int, seconds: float) -> dict[str, Any]:
    """One turn of one server."""
    server.signal(signal.SIGCONT)
    time.sleep(0.3)
    task = {"port": server.port, "request": request.hex(), "connections": connections}
    command = [sys.executable, "-m", "benchmarks.service.load"]
    before = server.cpu()
    load = subprocess.Popen(
        command, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for session in (server.process.pid, load.pid):
        prefer(session)
    told, _ = load.communicate(json.dumps({**task, "seconds": seconds}).encode())
    server.signal(signal.SIGSTOP)
    found: dict[str, Any] = json.loads(told)
    found["cpu"] = (server.cpu() - before) / max(1, found["answers"])
    return found


def prefer(session: int) -> None:
    """Let a session's processes go before others', where the system lets us."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, session, -15)
    with contextlib.suppress(OSError):  # Linux may weigh sessions first, then processes within
        Path(f"/proc/{session}/autogroup").write_text("-15")


def compare(
    servers: dict[str, tuple[Server, bytes]], connections: int, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Medians over interleaved rounds, a row a server."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
    for server, request in servers.values():
        measure(server, request, connections, min(0.7, seconds))  # plans, caches, lazy imports
    for _ in range(rounds):
        for name, (server, request) in servers.items():
            seen[name].append(measure(server, request, connections, seconds))
    rows = []
    for name, turns in seen.items():
        figures = ("rate", "p50", "p99", "cpu", "load")
        medians = {k: statistics.median(turn[k] for turn in turns) for k in figures}
        failed = sum(turn["failed"] for turn in turns)
        rows.append({"server": name, "connections": connections, **medians, "failed": failed})
    return rows


def stock(stack: contextlib.ExitStack, kind: str, body: str, weights: str) -> dict[str, Server]:
    """The stock application with each of its batching settings."""
    servers = {}
    for batch, timeout in BATCHING:
        name = f"stock {kind} {body}, batch {batch}" + f"/{1000 * timeout:g} ms" * (batch > 1)
        words = ("{port}", kind, body, str(batch), str(timeout), weights)
        servers[name] = stack.enter_context(started(name, "stock", *words))
    return servers


def main() -> None:
    """Measure and report."""
    quick = arguments(__doc__ or "").quick
    rounds, seconds = (1, 1.0) if quick else (5, 1.5)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        root = Path(place)
        weights = str(save(root) / "model.safetensors")
        options = ("serve", "--repository", place, "--port", "{port}")
        ours = {
            kind: stack.enter_context(started(f"ours {kind}", "ours", kind, after=options))
            for kind in ("echo", "deterministic", "mc")
        }
        for body in ("json", "float32"):
            theirs, mine = requests(body)
            with contextlib.ExitStack() as some:
                case = {n: (s, theirs) for n, s in stock(some, "echo", body, weights).items()}
                case[f"ours echo {body}"] = (ours["echo"], mine)
                rows += compare(case, 64, rounds, seconds)
        theirs, mine = requests("json")
        with contextlib.ExitStack() as some:
            case = {n: (s, theirs) for n, s in stock(some, "mc", "json", weights).items()}
            case |= {f"ours {kind} json": (ours[kind], mine) for kind in ("deterministic", "mc")}
            rows += compare(case, 64, rounds, seconds)
        with contextlib.ExitStack() as some:
            name, words = "stock deterministic json, batch 1", ("deterministic", "json", "1", "0")
            alone = some.enter_context(started(name, "stock", "{port}", *words, weights))
            case = {name: (alone, theirs), "ours mc json": (ours["mc"], mine)}
            rows += compare(case, 1, rounds, seconds)
    others = round(os.getloadavg()[2], 1)  # what else kept the machine busy, ourselves included
    report("service", rows, quick=quick, samples=SAMPLES, ratios=ratios(rows), others=others)


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What the figures come to."""
    many = {row["server"]: row for row in rows if row["connections"] == 64}
    one = {row["server"]: row for row in rows if row["connections"] == 1}

    def best(start: str) -> dict[str, Any]:
        return max((r for n, r in many.items() if n.startswith(start)), key=lambda r: r["rate"])

    def cheapest(start: str) -> float:
        return min(float(row["cpu"]) for name, row in many.items() if name.startswith(start))

    mc, naive = many["ours mc json"], best("stock mc json")
    cases = ("echo json", "echo float32", "mc json")
    cpu = {f"{c}, cpu": cheapest(f"stock {c}") / many[f"ours {c}"]["cpu"] for c in cases}
    return cpu | {
        "echo json": many["ours echo json"]["rate"] / best("stock echo json")["rate"],
        "echo float32": many["ours echo float32"]["rate"] / best("stock echo float32")["rate"],
        "mc": mc["rate"] / naive["rate"],
        "mc p99": mc["p99"] / naive["p99"],
        "mc / deterministic": mc["rate"] / many["ours deterministic json"]["rate"],
        "p50 of mc / stock deterministic": one["ours mc json"]["p50"]
        / one["stock deterministic json, batch 1"]["p50"],
    }


if __name__ == "__main__":
    main()
