"""Predictions as bytes and back, to the bit: what the service sends and `mcdrop.Client` reads.

The bytes are a safetensors file: each array of the dataclass by its name, its numbers as JSON in
the metadata; nothing is ever unpickled. Knows the dataclasses' fields. Refuses to know who sends.
"""

import json
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mcdrop.errors import InputError
from mcdrop.predictions import ClassPredictions, Predictions, ValuePredictions
from mcdrop.uncertainty import DeterministicClasses, DeterministicOutputs

__all__ = ["CONTENT_TYPE", "pack", "unpack"]

CONTENT_TYPE = "application/x-safetensors"
"""Content type of packed predictions."""

_KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "classification": (ClassPredictions, DeterministicClasses),
    "regression": (ValuePredictions, DeterministicOutputs),
}


def pack(found: Predictions) -> bytes:
    """The bytes of ``found``."""
    arrays, numbers = {}, {"task": found.task}
    for field in fields(found):
        value = getattr(found, field.name)
        if is_dataclass(value):
            for inner in fields(value):
                arrays[f"{field.name}.{inner.name}"] = getattr(value, inner.name)
        elif isinstance(value, np.ndarray):
            arrays[field.name] = value
        else:
            numbers[field.name] = value
    whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    content: bytes = safetensors.numpy.save(whole, {"mcdrop": json.dumps(numbers)})
    return content


def unpack(content: bytes) -> Predictions:
    """The predictions of `pack`'s bytes.

    Raises:
        InputError: these are other bytes.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        numbers = json.loads(header["__metadata__"]["mcdrop"])
        kind, inner = _KINDS[numbers.pop("task")]
        arrays: dict[str, Any] = safetensors.numpy.load(content)
        parts = [name for name in arrays if name.startswith("deterministic.")]
        fixed = inner(**{name.partition(".")[2]: arrays.pop(name) for name in parts})
        found: Predictions = kind(**arrays, **numbers, deterministic=fixed)
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"got {len(content)} bytes that are no packed predictions: {error}"
        ) from None
    return found
