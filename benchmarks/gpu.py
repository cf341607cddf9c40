"""A hundred passes on a GPU: what ``python -m benchmarks.posterior --device cuda`` measures.

Rows lie on the GPU beforehand, answers come back to the processor. `ours ms` is the time of a call
as its caller sees it; `device ms` what the GPU's own clock says of it, from the first operation to
the last. `x` and `d` are as in `benchmarks.posterior`, by the caller's time. `floor ms` is the
larger of two times: useful multiplications (kept units only; the trunk and the deterministic answer
in float32) at the rates that PyTorch's own large products reach in this run, and the bytes of rows,
weights and answers at the rate of a large copy in this run. `reached` is the floor as a share of
`device ms`; float32 products in three parts, on matrix units, can take it above 1.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch

from benchmarks.harness import report
from benchmarks.networks import NETWORKS, SAMPLES, SETTINGS, build, forward, plain_loop, useful
from mcdrop.posterior import Posterior

ROWS = (1, 32, 256, 4096, 65536)


class Rates(NamedTuple):
    """What the device does at best: multiplications, and bytes read or written, a second."""

    float32: float
    bfloat16: float
    copied: float


class Times(NamedTuple):
    """Seconds of a call, as its caller and as the device sees them."""

    caller: float
    device: float


def clock(case: Callable[[], object], device: torch.device, count: int) -> Times:
    """Seconds a call, of ``count`` in a row, each waited for."""
    spans = []
    start = time.perf_counter()
    for _ in range(count):
        if device.type == "cuda":
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            events[0].record()
            case()
            events[1].record()
            torch.cuda.synchronize(device)
            spans.append(events[0].elapsed_time(events[1]) / 1e3)
        else:
            case()
    caller = (time.perf_counter() - start) / count
    return Times(caller, statistics.median(spans) if spans else caller)


def interleave(
    cases: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int = 7,
    least: float = 0.05,
) -> dict[str, Times]:
    """Medians of rounds, in each of which every case has its turn of ``least`` seconds or more."""
    counts: dict[str, int] = {}
    times: dict[str, list[Times]] = {name: [] for name in cases}
    for name, case in cases.items():
        clock(case, device, 2)  # compilation, plans, handles
        counts[name] = max(1, int(least / max(clock(case, device, 1).caller, 1e-6)))
    for _ in range(rounds):
        for name, case in cases.items():
            case()
            times[name].append(clock(case, device, counts[name]))
    return {
        name: Times(*(statistics.median(column) for column in zip(*values, strict=True)))
        for name, values in times.items()
    }


def peaks(device: torch.device, size: int = 8192) -> Rates:
    """Rates of large products and of a large copy, of random numbers."""
    a, b = torch.randn(2, size, size, device=device)
    coarse = a.bfloat16(), b.bfloat16()
    target = torch.empty_like(coarse[0])
    whole = torch.randn(4 * size * size, device=device)
    copy = torch.empty_like(whole)
    cases: dict[str, Callable[[], object]] = {
        "float32": lambda: torch.mm(a, b),
        "bfloat16": lambda: torch.mm(*coarse, out=target),
        "copied": lambda: copy.copy_(whole),
    }
    times = interleave(cases, device, rounds=5)
    return Rates(
        size**3 / times["float32"].device,
        size**3 / times["bfloat16"].device,
        2 * whole.nbytes / times["copied"].device,
    )


def floor(name: str, rows: int, setting: str, rates: Rates, samples: int = SAMPLES) -> float:
    """Seconds below which no way of computing these passes can be."""
    widths, rates_of_dropout = NETWORKS[name]
    layers = [a * b for a, b in pairwise(widths)]
    first = next(i for i, rate in enumerate(rates_of_dropout) if rate)
    passes = useful(name, samples) - sum(layers[:first])
    coarse = widths[-1] > 1 and setting != "float32"
    products = rows * (
        sum(layers) / rates.float32 + passes / (rates.bfloat16 if coarse else rates.float32)
    )
    numbers = 4 * widths[-1] + (3 if widths[-1] > 1 else 0)
    moved = rows * (4 * widths[0] + 8 * numbers) + 4 * sum(layers)
    return max(products, moved / rates.copied)


def measure(
    name: str, rows: int, setting: str, device: torch.device, rates: Rates, *, rounds: int
) -> dict[str, object]:
    """One row of the table."""
    network = build(name).eval().to(device)
    x = torch.randn(rows, NETWORKS[name][0][0], device=device)
    posterior = Posterior(network, SAMPLES, **SETTINGS[setting])  # type: ignore[arg-type]
    passes = min(SAMPLES, max(10, math.ceil(1e12 / (rows * useful(name, 1)))))
    cases: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_loop(network, x, passes),
        "one": lambda: forward(network, x),
        "ours": lambda: posterior.predict(x),
    }
    times = interleave(cases, device, rounds)
    one, ours = times["one"].caller, times["ours"]
    loop = one + (times["plain"].caller - one) * SAMPLES / passes
    least = floor(name, rows, setting, rates)
    return {
        "network": name,
        "rows": rows,
        "setting": setting,
        "engine": posterior.engine,
        "ours ms": ours.caller * 1e3,
        "device ms": ours.device * 1e3,
        "x": loop / ours.caller,
        "d": ours.caller / one,
        "floor ms": least * 1e3,
        "reached": least / ours.device,
    }


def main(*, device: torch.device, quick: bool) -> None:
    """Measure and report."""
    rates = peaks(device)
    cases = [("784-256-128-10", rows, "auto") for rows in ROWS]
    if not quick:
        cases = [(name, rows, "auto") for name in NETWORKS for rows in ROWS]
        cases += [("784-256-128-10", rows, s) for s in ("float32", "independent") for rows in ROWS]
    rounds = 3 if quick else 5
    rows = [measure(*case, device, rates, rounds=rounds) for case in cases]
    kind = torch.cuda.get_device_name(device).lower().replace(" ", "-")
    report(
        "posterior",
        rows,
        quick=quick,
        options=f"--device {device}{' --quick' if quick else ''}",
        file=f"posterior-{kind}",
        device=device.type,
        samples=SAMPLES,
        rates=rates._asdict(),
    )
