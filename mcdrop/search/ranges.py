"""What a search can tune, and the recipe that a trial's values make.

Knows names, bounds and where a value goes in a recipe. Refuses to know how trials are judged.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mcdrop.errors import InputError
from mcdrop.recipe import Recipe
from mcdrop.sweep import replaced

if TYPE_CHECKING:
    import optuna

__all__ = ["RANGES", "Range", "parse_ranges", "propose"]


@dataclass(frozen=True)
class Range:
    """Bounds of a tuned number, both included; even steps on a log scale if ``log``."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high < math.inf and (self.low > 0 or not self.log)):
            raise InputError(
                f"the range {self.low}:{self.high} is none: give two numbers in order"
                f"{', the lower above 0' if self.log else ''}"
            )

    def points(self) -> list[float]:
        """Three values from bound to bound, for a grid."""
        space = np.geomspace if self.log else np.linspace
        values = space(self.low, self.high, 3).tolist()
        return sorted({round(value) for value in values} if self.whole else set(values))


RANGES: Mapping[str, Range] = {
    "weight_decay": Range(1e-6, 1e-1, log=True),
    "dropout": Range(0.0, 0.7),
    "input_dropout": Range(0.0, 0.3),
    "width": Range(16, 512, log=True, whole=True),
    "depth": Range(1, 3, whole=True),
    "lr": Range(1e-4, 1e-2, log=True),
}
"""What can be tuned. ``dropout`` is one rate per hidden layer, but a single one in a grid."""

_FIELDS = {
    "weight_decay": "regularization.weight_decay",
    "input_dropout": "network.input_dropout",
    "lr": "training.lr",
}


def parse_ranges(texts: Iterable[str]) -> dict[str, Range]:
    """Ranges from texts like "lr" or "lr=1e-4:1e-2"; without bounds, those of `RANGES`.

    Raises:
        InputError: an unknown name, or bounds that are no range.
    """
    ranges = {}
    for text in texts:
        name, _, bounds = text.partition("=")
        try:
            known = RANGES[name]
            low, high = (float(b) for b in bounds.split(":")) if bounds else (known.low, known.high)
        except (KeyError, ValueError):
            raise InputError(
                f"cannot tune {text!r}: give a name of {', '.join(RANGES)}, with bounds if wanted, "
                "as lr=1e-4:1e-2"
            ) from None
        ranges[name] = replace(known, low=low, high=high)
    return ranges


def propose(
    trial: "optuna.Trial", recipe: Recipe, ranges: Mapping[str, Range], *, one_rate: bool
) -> Recipe:
    """The recipe with the values that a trial suggests."""

    def suggest(name: str, label: str) -> float:
        bounds = ranges[name]
        if bounds.whole:
            return trial.suggest_int(label, int(bounds.low), int(bounds.high), log=bounds.log)
        return trial.suggest_float(label, bounds.low, bounds.high, log=bounds.log)

    values: dict[str, Any] = {
        field: suggest(name, name) for name, field in _FIELDS.items() if name in ranges
    }
    hidden, rates = recipe.network.hidden, recipe.network.rates
    if {"width", "depth"} & set(ranges):
        depth = int(suggest("depth", "depth")) if "depth" in ranges else len(hidden)
        width = int(suggest("width", "width")) if "width" in ranges else max(hidden)
        hidden, rates = (width,) * depth, (rates[0],) * depth
    if "dropout" in ranges:
        labels = ["dropout"] if one_rate else [f"dropout_{k + 1}" for k in range(len(hidden))]
        tried = [suggest("dropout", label) for label in labels]
        rates = tuple(tried * len(hidden) if one_rate else tried)
    return replaced(recipe, {**values, "network.hidden": hidden, "network.dropout": rates})
