"""The Open Inference Protocol v2, its answering half: the tensors of an answer, and of a model.

Knows the names, datatypes and shapes of output tensors, which are the library's own names, and
how they are laid out as JSON or as bytes. Refuses to know HTTP and how answers are computed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from mcdrop.card import Card
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.errors import InputError
from mcdrop.predictions import Predictions
from mcdrop_service.ask import Reply
from mcdrop_service.job import Job
from mcdrop_service.v2 import INPUTS

__all__ = ["HEADER", "describe", "lay_out", "output_names"]

HEADER = "inference-header-content-length"
"""Header that says how many bytes of a body are JSON, where tensors follow."""


class _Output(NamedTuple):
    """An output tensor: a value a row, or one for each of C classes or targets.

    ``unknown`` alone has one for each of a table's K columns, in the order of the input tensors.
    """

    datatype: str
    wide: bool
    values: Callable[[Any, Card], NDArray[Any]]


def _number(name: str, *, wide: bool = False) -> _Output:
    return _Output("FP64", wide, lambda found, _card: getattr(found, name))


def _flag(name: str, *, wide: bool = False) -> _Output:
    return _Output("BOOL", wide, lambda found, _card: getattr(found, name))


def _label(of: Callable[[Any], NDArray[np.int64]]) -> _Output:
    return _Output(
        "BYTES", False, lambda found, card: np.array(card.classes, dtype=object)[of(found)]
    )


_CLASSES: Mapping[str, _Output] = {
    "prediction": _label(lambda found: found.prediction),
    "probabilities": _number("probabilities", wide=True),
    "std": _number("std", wide=True),
    "confidence": _number("confidence"),
    "total": _number("total"),
    "aleatoric": _number("aleatoric"),
    "epistemic": _number("epistemic"),
    "total_variance": _number("total_variance"),
    "aleatoric_variance": _number("aleatoric_variance"),
    "epistemic_variance": _number("epistemic_variance"),
    "novelty": _number("novelty"),
    "prediction_set": _flag("prediction_set", wide=True),
    "abstain": _flag("abstain"),
    "agrees": _flag("agrees"),
    "mc_error": _number("mc_error", wide=True),
    "deterministic_prediction": _label(lambda found: found.deterministic.prediction),
    "deterministic_probabilities": _Output(
        "FP64", True, lambda found, _card: found.deterministic.probabilities
    ),
}

_VALUES: Mapping[str, _Output] = {
    **{
        name: _number(name, wide=True)
        for name in ("mean", "std", "lower", "upper", "confidence", "total", "aleatoric")
    },
    "epistemic": _number("epistemic", wide=True),
    "novelty": _number("novelty"),
    "mc_error": _number("mc_error", wide=True),
    "deterministic": _Output("FP64", True, lambda found, _card: found.deterministic.mean),
}


_COLUMNS: Mapping[str, _Output] = {"unknown": _flag("unknown", wide=True)}


def _outputs(card: Card) -> Mapping[str, _Output]:
    own = _CLASSES if card.task == "classification" else _VALUES
    return {**own, **_COLUMNS} if card.preprocessing.columns else own


def _width(card: Card, name: str) -> int:
    return len(card.preprocessing.columns) if name in _COLUMNS else card.out_features


def output_names(card: Card) -> tuple[str, ...]:
    """The output tensors of a model."""
    return tuple(_outputs(card))


def describe(card: Card, versions: Sequence[int]) -> dict[str, Any]:
    """A model's metadata: its tensors, -1 standing for the rows."""
    step = card.preprocessing
    if isinstance(step, ArrayPreprocessing):
        inputs = [_tensor(INPUTS, "FP32", [-1, step.features])]
    else:
        inputs = [_tensor(column.name, "FP64", [-1, 1]) for column in step.numeric]
        inputs += [_tensor(column.name, "BYTES", [-1, 1]) for column in step.categorical]
    return {
        "name": card.name,
        "versions": [str(version) for version in versions],
        "platform": "mcdrop",
        "inputs": inputs,
        "outputs": [
            _tensor(name, output.datatype, [-1, _width(card, name)] if output.wide else [-1])
            for name, output in _outputs(card).items()
        ],
        "parameters": {
            "task": card.task,
            "samples": card.samples,
            "classes": list(card.classes),
            "targets": list(card.targets),
        },
    }


def lay_out(
    jobs: Sequence[Job], found: Predictions, _passes: NDArray[np.float64] | None
) -> list[Reply]:
    """The format ``v2``: one reply a job, with the outputs its request named.

    Raises:
        InputError: an output is asked for that the model has not.
    """
    replies, start = [], 0
    for job in jobs:
        end = start + len(job.x)
        replies.append(_reply(job, found.rows(slice(start, end))))
        start = end
    return replies


def _reply(job: Job, found: Predictions) -> Reply:
    card, extra = job.predictor.card, job.ask.extra
    outputs, tail = [], []
    for name, binary in _wanted(extra["outputs"], card):
        output = _outputs(card)[name]
        values = output.values(found, card)
        tensor = _tensor(name, output.datatype, list(values.shape))
        if binary:
            content = _bytes(values, output.datatype)
            tensor["parameters"] = {"binary_data_size": len(content)}
            tail.append(content)
        else:
            # JSON has no infinity: an end that is infinite is null, as in /predict.
            tensor["data"] = values.reshape(-1).tolist()
        outputs.append(tensor)
    told = {
        "model_name": card.name,
        "model_version": str(card.version),
        **({"id": extra["id"]} if extra["id"] else {}),
        "parameters": {"samples": found.samples, "seed": job.ask.seed, "level": found.level},
        "outputs": outputs,
    }
    head = orjson.dumps(told)
    if not tail:
        return Reply(head)
    return Reply(
        b"".join([head, *tail]),
        kind="application/octet-stream",
        headers=((HEADER, str(len(head))),),
    )


def _wanted(asked: Any, card: Card) -> list[tuple[str, bool]]:
    known = _outputs(card)
    if isinstance(asked, bool):
        return [(name, asked) for name in known]
    unknown = next((name for name, _ in asked if name not in known), None)
    if unknown is not None:
        raise InputError(f"got the output {unknown[:80]!r}, wanted some of {', '.join(known)}")
    return list(asked)


def _bytes(values: NDArray[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        texts = [text.encode() for text in values.reshape(-1)]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return values.astype("<f8" if datatype == "FP64" else "|b1").tobytes()


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}
