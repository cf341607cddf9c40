"""Other libraries' MC dropout against ours, on one network. One thread, T = 100.

Each library is used as its documentation says, in every way it offers, and must first agree with
our posterior as samples of it do. `x` is its time over ours, by rows a call; the plain loop, as
`benchmarks.networks` has it, stands beside them. What is timed is not the same work: they end
with mean probabilities, ours and the loop with entropies, spreads and mutual information too.

The libraries are no dependency of the project. Install them in an environment of their own, with
`pip install . torch-uncertainty baal lightning-uq-box`; one that is absent is left out, and named.
"""

import copy
import importlib
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness import arguments, interleave, report
from benchmarks.networks import NETWORKS, SAMPLES, build, plain_loop
from mcdrop.posterior import Posterior

NETWORK = "784-256-128-10"
ROWS = (1, 32, 256, 4096)
CHECKED = 400  # rows
REFERENCE = 2000  # passes

Predict = Callable[[Tensor], Tensor]  # rows (B, D) to mean probabilities (B, C)


class Peer(NamedTuple):
    """One way of a library: of a network that is its own to change, how to predict."""

    package: str
    way: str
    build: Callable[[nn.Sequential], Predict]


def torch_uncertainty(network: nn.Module, *, on_batch: bool) -> Predict:
    """`torch_uncertainty.methods.mc_dropout`; logits come as (T * B, C)."""
    wrap = importlib.import_module("torch_uncertainty.methods").mc_dropout
    model = wrap(network, num_estimators=SAMPLES, on_batch=on_batch).eval()

    def predict(x: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(x).view(SAMPLES, len(x), -1)  # (T, B, C)
            return logits.softmax(-1).mean(0)

    return predict


def baal(network: nn.Module, *, replicate: bool, caching: bool = False) -> Predict:
    """`MCDropoutModule` and `predict_on_batch`; logits come as (B, C, T)."""
    model = importlib.import_module("baal.bayesian.dropout").MCDropoutModule(network)
    if caching:
        model = importlib.import_module("baal.bayesian.caching_utils").MCCachingModule(model)
    parts = importlib.import_module("baal.modelwrapper")
    settings = parts.TrainingArgs(replicate_in_memory=replicate, use_cuda=False)
    wrapper = parts.ModelWrapper(model, settings)
    wrapper.eval()

    def predict(x: Tensor) -> Tensor:
        logits: Tensor = wrapper.predict_on_batch(x, iterations=SAMPLES)
        return logits.softmax(1).mean(-1)

    return predict


def lightning_uq_box(network: nn.Module) -> Predict:
    """`MCDropoutClassification` and `predict_step`, which averages probabilities itself."""
    methods = importlib.import_module("lightning_uq_box.uq_methods")
    model = methods.MCDropoutClassification(network, SAMPLES, nn.CrossEntropyLoss())

    def predict(x: Tensor) -> Tensor:
        mean: Tensor = model.predict_step(x)["pred"]
        return mean

    return predict


PEERS = (
    Peer("torch-uncertainty", "rows repeated", lambda net: torch_uncertainty(net, on_batch=True)),
    Peer("torch-uncertainty", "a loop", lambda net: torch_uncertainty(net, on_batch=False)),
    Peer("baal", "rows repeated", lambda net: baal(net, replicate=True)),
    Peer("baal", "a loop", lambda net: baal(net, replicate=False)),
    Peer("baal", "a loop, caching", lambda net: baal(net, replicate=False, caching=True)),
    Peer("lightning-uq-box", "a loop", lightning_uq_box),
)


def installed(package: str) -> str | None:
    """A package's version, or None where it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def disagreement(predict: Predict, network: nn.Sequential) -> float:
    """Mean square of what should be standard normal: near 1 for means of T passes.

    Of each row, the mean probability of the likeliest class less that of many more passes, in
    standard errors. Masks of rows are independent, so the mean square of R rows has a standard
    error of about sqrt(2 / R), .07 here; .65 and 1.35 are 5 of them away.
    """
    x = torch.randn(CHECKED, NETWORKS[NETWORK][0][0])
    want = Posterior(network, REFERENCE).predict(x)
    row, top = np.arange(CHECKED), want.mean.argmax(1)
    error = np.hypot(want.std[row, top] / SAMPLES**0.5, want.mc_error[row, top])
    z = (predict(x).numpy()[row, top] - want.mean[row, top]) / error
    return float(np.mean(z**2))


def agreeing(peer: Peer, network: nn.Sequential) -> Predict:
    """A peer's prediction, which has been found to be of T passes of this network.

    Raises:
        ValueError: it is something else.
    """
    predict = peer.build(copy.deepcopy(network))
    square = disagreement(predict, network)
    if not 0.65 < square < 1.35:
        raise ValueError(
            f"{peer.package}, {peer.way}: deviates from {SAMPLES} passes by a mean square of "
            f"{square:.3g} standard errors, not by 1; mend the adapter before timing it"
        )
    return predict


def main() -> None:
    """Check, measure and report."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # the libraries' own
    names = dict.fromkeys(peer.package for peer in PEERS)
    versions = {name: found for name in names if (found := installed(name))}
    if absent := [name for name in names if name not in versions]:
        print(f"not installed, so not compared: {', '.join(absent)}")
    if not versions:
        raise SystemExit("nothing to compare with: pip install " + " ".join(names))
    network = build(NETWORK).eval()
    cases: dict[str, Callable[[Tensor], object]] = {
        "mcdrop": Posterior(network, SAMPLES).predict,
        "the plain loop": lambda x: plain_loop(network, x, SAMPLES),
    }
    for peer in PEERS:
        if peer.package in versions:
            name = f"{peer.package} {versions[peer.package]}, {peer.way}"
            cases[name] = agreeing(peer, network)
    table: dict[str, dict[str, object]] = {name: {"library": name} for name in cases}
    for rows in ROWS[:2] if quick else ROWS:
        times = measure(cases, rows)
        for name, row in table.items():
            row |= {
                f"ms at {rows}": times[name] * 1e3,
                f"x at {rows}": times[name] / times["mcdrop"],
            }
    report("peers", list(table.values()), quick=quick, samples=SAMPLES, network=NETWORK)


def measure(cases: dict[str, Callable[[Tensor], object]], rows: int) -> dict[str, float]:
    """Seconds a call of so many rows."""
    x = torch.randn(rows, NETWORKS[NETWORK][0][0])
    calls = {name: partial(case, x) for name, case in cases.items()}
    return interleave(calls, rounds=3 if rows > 256 else 5)


if __name__ == "__main__":
    main()
