"""Answers as flat columns: the one layout of scored files and of `mcdrop predict`.

Columns come in this order, always all of them, whatever the rows; entropies in nats, variances in
the target's unit squared. A classification has

| column | type | |
|---|---|---|
| `prediction` | string | label of the class most probable on average over passes |
| `confidence` | double | 1 - total_variance / (1 - 1/C): 1 certain, 0 the uniform answer |
| `total`, `aleatoric`, `epistemic` | double | entropy of the mean, mean entropy, the difference |
| `total_variance`, `aleatoric_variance`, `epistemic_variance` | double | the same by variances |
| `novelty` | double | share of calibration rows with less epistemic uncertainty |
| `abstain` | bool | whether the confidence is too low for the risk asked, or a value `unknown` |
| `prediction_set` | list of string | labels of the conformal set; in CSV, parted by a bar |
| `agrees` | bool | whether the answers with and without dropout coincide |
| `deterministic_prediction` | string | the answer without dropout |
| `unknown` | list of string | of a table: columns that hold what training never met |
| `probability_<class>`, `std_<class>` | double | mean and standard deviation over passes |
| `deterministic_probability_<class>` | double | the network's own |
| `mc_error_<class>`, `total_mc_error`, `epistemic_mc_error` | double | on request |

and a regression, each but the first two with `_<target>` behind it where there are several targets,

| column | type | |
|---|---|---|
| `novelty` | double | as above |
| `unknown` | list of string | as above |
| `mean`, `std` | double | of the prediction, in the target's unit |
| `lower`, `upper` | double | ends of the conformal interval |
| `confidence` | double | max(0, 1 - total / variance of the training target) |
| `total`, `aleatoric`, `epistemic` | double | variances |
| `deterministic` | double | the answer without dropout |
| `mc_error` | double | on request: standard error of `mean` |
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.card import Card
from mcdrop.predictions import ClassPredictions, Predictions, ValuePredictions

__all__ = ["BY_CLASS", "columns", "schema"]

BY_CLASS = ("probability", "std", "deterministic_probability", "mc_error")
"""What there is a column of for each class, ``<this>_<class>``; the last on request."""

_TEXTS = {"prediction", "deterministic_prediction"}
_TRUTHS = {"abstain", "agrees"}
_LISTS = {"prediction_set", "unknown"}


def columns(answers: Predictions, card: Card, *, mc_error: bool = False) -> dict[str, Any]:
    """Answers as columns by name, one value a row: arrays of NumPy, or of Arrow for labels.

    Args:
        answers: of B rows.
        card: of the model that gave them.
        mc_error: whether to add Monte Carlo standard errors.
    """
    if isinstance(answers, ValuePredictions):
        found = _regression(answers, card.targets, mc_error=mc_error)
    else:
        found = _classification(answers, card.classes, mc_error=mc_error)
    if names := card.preprocessing.columns:
        found["unknown"] = _lists(answers.unknown, pa.array(names, pa.string()))
    return {name: found[name] for name in schema(card, mc_error=mc_error).names}


def schema(card: Card, *, mc_error: bool = False) -> pa.Schema:
    """Names and types of what `columns` gives, known before there is any answer."""
    if card.task == "regression":
        names = ("novelty", "unknown", *_names(card.targets, mc_error=mc_error))
        return pa.schema([(name, _type(name)) for name in names if _has(card, name)])
    fields = [(name, _type(name)) for name in (*_ROW, "unknown") if _has(card, name)]
    keys = BY_CLASS if mc_error else BY_CLASS[:-1]
    fields += [(f"{key}_{c}", pa.float64()) for key in keys for c in card.classes]
    if mc_error:
        fields += [("total_mc_error", pa.float64()), ("epistemic_mc_error", pa.float64())]
    return pa.schema(fields)


_ROW = (
    *("prediction", "confidence", "total", "aleatoric", "epistemic"),
    *("total_variance", "aleatoric_variance", "epistemic_variance"),
    *("novelty", "abstain", "prediction_set", "agrees", "deterministic_prediction"),
)
_BY_TARGET = (
    *("mean", "std", "lower", "upper", "confidence"),
    *("total", "aleatoric", "epistemic", "deterministic"),
)


def _has(card: Card, name: str) -> bool:
    return name != "unknown" or bool(card.preprocessing.columns)


def _type(name: str) -> pa.DataType:
    if name in _LISTS:
        return pa.list_(pa.string())
    return pa.string() if name in _TEXTS else pa.bool_() if name in _TRUTHS else pa.float64()


def _classification(
    answers: ClassPredictions, classes: tuple[str, ...], *, mc_error: bool
) -> dict[str, Any]:
    labels = pa.array(classes, pa.string())
    special = {
        "prediction": labels.take(pa.array(answers.prediction)),
        "prediction_set": _lists(answers.prediction_set, labels),
        "deterministic_prediction": labels.take(pa.array(answers.deterministic.prediction)),
    }
    found = {name: special[name] if name in special else getattr(answers, name) for name in _ROW}
    by_class = {
        "probability": answers.probabilities,
        "std": answers.std,
        "deterministic_probability": answers.deterministic.probabilities,
    } | ({"mc_error": answers.mc_error} if mc_error else {})
    for key, values in by_class.items():
        turned = np.ascontiguousarray(values.T)  # (C, B): a column after the other
        found |= {f"{key}_{name}": turned[c] for c, name in enumerate(classes)}
    if mc_error:
        found["total_mc_error"] = answers.mc_error_total
        found["epistemic_mc_error"] = answers.mc_error_epistemic
    return found


def _lists(members: NDArray[np.bool_], labels: pa.Array) -> pa.Array:
    ends = np.concatenate([[0], np.cumsum(members.sum(axis=1))])
    inside = labels.take(pa.array(np.nonzero(members)[1]))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), inside)


def _names(targets: tuple[str, ...], *, mc_error: bool) -> list[str]:
    keys = (*_BY_TARGET, *(("mc_error",) if mc_error else ()))
    endings = [f"_{target}" for target in targets] if len(targets) > 1 else [""]
    return [f"{key}{ending}" for ending in endings for key in keys]


def _regression(
    answers: ValuePredictions, targets: tuple[str, ...], *, mc_error: bool
) -> dict[str, Any]:
    values = {key: getattr(answers, key) for key in _BY_TARGET if key != "deterministic"}
    values["deterministic"] = answers.deterministic.mean
    if mc_error:
        values["mc_error"] = answers.mc_error
    by_target = [column[:, c] for c in range(len(targets)) for column in values.values()]
    names = _names(targets, mc_error=mc_error)
    return {"novelty": answers.novelty, **dict(zip(names, by_target, strict=True))}
