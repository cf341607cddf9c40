"""Statistics of rows laid out as the fields of an answer: one dictionary a row.

Knows which fields an answer's rows have, and how each is drawn from the predictions, for many rows
at once. Refuses to know asks, networks and JSON's text.
"""

from collections.abc import Callable, Sequence, Set
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.card import Card
from mcdrop.predictions import ClassPredictions, Predictions, ValuePredictions

__all__ = ["encode", "names"]

Column = Callable[[Any, Card], list[Any]]


def names(card: Card) -> Set[str]:
    """The fields of a row of this model's answers, in their order."""
    return (_CLASS_COLUMNS if card.task == "classification" else _VALUE_COLUMNS).keys()


def encode(found: Predictions, card: Card, wanted: Sequence[str] | None) -> list[dict[str, Any]]:
    """One dictionary a row: the same float64 that the library gives, by field.

    Raises:
        ValueError: a number is not finite; JSON has none for it.
    """
    known = _CLASS_COLUMNS if isinstance(found, ClassPredictions) else _VALUE_COLUMNS
    chosen = known if wanted is None else wanted
    return _rows_of({name: known[name](found, card) for name in chosen})


def _finite(values: NDArray[Any]) -> list[Any]:
    if not np.isfinite(values).all():
        raise ValueError("an answer is not finite")
    return values.tolist()  # type: ignore[no-any-return]


def _rows_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """From lists of B values by name to B dictionaries."""
    keys = tuple(columns)
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _named(keys: tuple[str, ...], values: NDArray[np.float64]) -> list[dict[str, float]]:
    """From (B, C) to B dictionaries by class or target."""
    return [dict(zip(keys, row, strict=True)) for row in _finite(values)]


def _labels(card: Card, indices: NDArray[np.int64]) -> list[str]:
    return [card.classes[i] for i in indices.tolist()]


def _number(name: str) -> Column:
    return lambda found, _card: _finite(getattr(found, name))


def _by_class(name: str) -> Column:
    return lambda found, card: _named(card.classes, getattr(found, name))


def _by_target(name: str) -> Column:
    return lambda found, card: _named(card.targets, getattr(found, name))


def _sets(found: ClassPredictions, card: Card) -> list[list[str]]:
    return [
        [name for name, inside in zip(card.classes, row, strict=True) if inside]
        for row in found.prediction_set.tolist()
    ]


def _unknown(found: Predictions, card: Card) -> list[list[str]]:
    lists: list[list[str]] = [[] for _ in range(len(found))]
    for row, column in np.argwhere(found.unknown).tolist():
        lists[row].append(card.preprocessing.columns[column])
    return lists


def _variances(found: ClassPredictions, _card: Card) -> list[dict[str, float]]:
    parts = ("total", "aleatoric", "epistemic")
    return _rows_of({name: _finite(getattr(found, f"{name}_variance")) for name in parts})


def _fixed_classes(found: ClassPredictions, card: Card) -> list[dict[str, Any]]:
    fixed = found.deterministic
    return _rows_of(
        {
            "prediction": _labels(card, fixed.prediction),
            "probabilities": _named(card.classes, fixed.probabilities),
        }
    )


def _intervals(found: ValuePredictions, card: Card) -> list[dict[str, Any]]:
    """Without enough calibration rows an interval is infinite, which JSON has no number for."""
    ends = zip(found.lower.tolist(), found.upper.tolist(), strict=True)
    return [
        {
            name: {"lower": low, "upper": up} if isfinite(up) else None
            for name, low, up in zip(card.targets, *row, strict=True)
        }
        for row in ends
    ]


_CLASS_COLUMNS: dict[str, Column] = {
    "prediction": lambda found, card: _labels(card, found.prediction),
    "confidence": _number("confidence"),
    "agrees": _number("agrees"),
    "abstain": _number("abstain"),
    "novelty": _number("novelty"),
    "unknown": _unknown,
    "prediction_set": _sets,
    "total": _number("total"),
    "aleatoric": _number("aleatoric"),
    "epistemic": _number("epistemic"),
    "variance": _variances,
    "probabilities": _by_class("probabilities"),
    "std": _by_class("std"),
    "mc_error": _by_class("mc_error"),
    "deterministic": _fixed_classes,
}

_VALUE_COLUMNS: dict[str, Column] = {
    "mean": _by_target("mean"),
    "std": _by_target("std"),
    "interval": _intervals,
    "novelty": _number("novelty"),
    "unknown": _unknown,
    "confidence": _by_target("confidence"),
    "total": _by_target("total"),
    "aleatoric": _by_target("aleatoric"),
    "epistemic": _by_target("epistemic"),
    "mc_error": _by_target("mc_error"),
    "deterministic": lambda found, card: [
        {"mean": row} for row in _named(card.targets, found.deterministic.mean)
    ],
}
