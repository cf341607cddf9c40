"""Arguments as users give them, checked.

Knows what a whole number, a choice and a variance are. Refuses to know what they are for.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcdrop.errors import InputError

__all__ = ["bounded", "one_of", "variances"]


def bounded(name: str, value: int, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``; InputError for anything else."""
    if isinstance(value, bool) or int(value) != value or not low <= value <= high:
        raise InputError(f"{name} {value!r} must be a whole number from {low} to {high}")
    return int(value)


def one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise InputError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise InputError(f"{name} {value!r} is not one of {choices}")


def variances(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Variances >= 0, one or one an output, as an array () or (C,); else InputError."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim > 1 or not (np.isfinite(array).all() and (array >= 0).all()):
        raise InputError(f"{name} must be variances >= 0, one or one an output: got {value!r}")
    return array
