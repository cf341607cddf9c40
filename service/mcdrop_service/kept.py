"""What is kept of an answered row, and of its label, as numbers of a fixed layout.

Knows labels of classes and of targets. Refuses to know where rows are kept.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcdrop.errors import InputError
from mcdrop.predictions import Predictions, ValuePredictions

__all__ = ["Kept", "join", "read_label", "stack"]

_MOST = 1e150  # of a label: its square is a number still


class Kept(NamedTuple):
    """Answered rows of one model whose labels are known.

    Attributes:
        task: "classification" or "regression".
        answers: (n, k, C): probabilities and set membership of each class, k = 2; or mean, total
            variance and interval ends of each target, k = 4.
        labels: (n, C): 1 for the true class and 0 for others; or the true value of each target.
        levels: (n,), that sets and intervals were made at.
    """

    task: str
    answers: NDArray[np.float64]
    labels: NDArray[np.float64]
    levels: NDArray[np.float64]

    def target(self, column: int) -> "Kept":
        """What is kept of one of several targets."""
        one = slice(column, column + 1)
        return self._replace(answers=self.answers[:, :, one], labels=self.labels[:, one])

    @property
    def missed(self) -> NDArray[np.float64]:
        """Whether each row's set missed its label; or the share of targets missed, (n,)."""
        if self.task == "classification":
            return np.asarray(1.0 - (self.answers[:, 1] * self.labels).sum(axis=1))
        outside = (self.labels < self.answers[:, 2]) | (self.labels > self.answers[:, 3])
        return np.asarray(outside.mean(axis=1))


def stack(found: Predictions) -> NDArray[np.float64]:
    """What of each row is kept, (B, k, C), as `Kept.answers` says."""
    if isinstance(found, ValuePredictions):
        return np.stack([found.mean, found.total, found.lower, found.upper], axis=1)  # (B, 4, C)
    return np.stack([found.mean, found.prediction_set.astype(np.float64)], axis=1)  # (B, 2, C)


def read_label(value: Any, task: str, names: Sequence[str]) -> bytes | None:
    """A label as it is kept: the bytes of a row of `Kept.labels`; None for None.

    Raises:
        InputError: it is no class, or not a number for each target.
    """
    if value is None:
        return None
    if task == "classification":
        if value not in names:
            known = ", ".join(names)[:200]
            raise InputError(f"got the label {str(value)[:80]!r}, wanted one of {known}")
        return np.array([name == value for name in names], np.float64).tobytes()
    values = value if isinstance(value, dict) else {names[0]: value}
    numbers: list[Any] = [values.get(name) for name in names]
    right = [type(n) in (int, float) and abs(n) < _MOST for n in numbers]  # NaN is not less
    if set(values) != set(names) or not all(right):
        wanted = "a number" if len(names) == 1 else "a number for each of " + ", ".join(names)
        raise InputError(f"got the label {str(value)[:80]!r}, wanted {wanted}")
    return np.array(numbers, np.float64).tobytes()


def join(
    task: str, answers: Sequence[bytes], labels: Sequence[bytes], levels: NDArray[np.float64]
) -> Kept:
    """Rows from the bytes of `stack` and `read_label`."""
    truth = np.frombuffer(b"".join(labels)).reshape(len(labels), -1)  # (n, C)
    stacked = np.frombuffer(b"".join(answers)).reshape(len(labels), -1, truth.shape[1])
    return Kept(task, stacked, truth, levels)
