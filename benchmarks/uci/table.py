"""One line of the tables: a recipe on a set, beside what was published.

Knows figures. In a module of its own, for processes started afresh to find it.
"""

from typing import Any

import numpy as np
import torch

from benchmarks.uci.data import load
from benchmarks.uci.experiment import Outcome, fixed, tuned
from benchmarks.uci.recipes import PUBLISHED, TUNED

__all__ = ["line"]

_BESIDE = {"2016": "2016", "10x": "10x", "tuned": "2018"}


def line(name: str, recipe: str, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train and score one recipe on one set: its line, and its details split by split."""
    torch.set_num_threads(1)
    data = load(name)
    outcome = (
        tuned(data, TUNED[name], count) if recipe == "tuned" else fixed(data, name, recipe, count)
    )
    details = {
        "set": name,
        "recipe": recipe,
        "rmse": outcome.rmse.tolist(),
        "ll": outcome.log_likelihood.tolist(),
        "chosen": outcome.chosen,
    }
    return _row(name, recipe, outcome), details


def _row(name: str, recipe: str, outcome: Outcome) -> dict[str, Any]:
    """One line: ours, the published figures, and the distance in standard errors of both."""
    theirs = PUBLISHED[_BESIDE[recipe]][name]
    ours = (*_summary(outcome.rmse), *_summary(outcome.log_likelihood))
    return {
        "set": name,
        "recipe": recipe,
        "rmse": f"{ours[0]:.4g}+-{ours[1]:.2g}",
        "published rmse": f"{theirs[0]:.4g}+-{theirs[1]:.2g}",
        "ll": f"{ours[2]:.3f}+-{ours[3]:.3f}",
        "published ll": f"{theirs[2]:.3f}+-{theirs[3]:.3f}",
        "se rmse": float((ours[0] - theirs[0]) / np.hypot(ours[1], theirs[1])),
        "se ll": float((ours[2] - theirs[2]) / np.hypot(ours[3], theirs[3])),
        "seconds": outcome.seconds,
    }


def _summary(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error over splits."""
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))
