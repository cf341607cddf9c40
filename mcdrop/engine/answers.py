"""What outputs of passes mean, and answers from their sums.

Knows tasks, temperatures and variances, and where the kernel puts which number. Refuses to know
how numbers came about.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import softmax

from mcdrop.engine.sums import Sums
from mcdrop.errors import NetworkError
from mcdrop.uncertainty import (
    TINY,
    Array,
    Classification,
    DeterministicClasses,
    DeterministicOutputs,
    Regression,
)

__all__ = ["Reading", "Statistics", "Task", "join"]

Task = Literal["classification", "regression"]
Statistics = Classification | Regression


@dataclass(frozen=True)
class Reading:
    """How outputs are read; attributes as in `Posterior`.

    Attributes:
        task: None: one output means regression.
        temperature: divides logits of passes.
        learned: whether outputs are means and logarithms of variances.
        aleatoric: variance of the noise, () or (C,).
        target_variance: of the training target, likewise.
    """

    task: Task | None
    temperature: float
    learned: bool
    aleatoric: Array
    target_variance: Array

    def of(self, outputs: int) -> Task:
        """What so many outputs mean."""
        return self.task or ("regression" if outputs == 1 else "classification")

    def scale(self, outputs: int) -> float | None:
        """The temperature of a classification of so many classes, None for a regression."""
        if self.of(outputs) == "regression":
            return None
        if outputs < 2:
            raise NetworkError(
                f"a classification needs two outputs or more, the network has {outputs}: give it "
                "one logit a class"
            )
        return self.temperature

    def finish(self, sums: Sums, value: Array, log: Array | None) -> Statistics:
        """An answer from sums around ``value`` (C, B), and its logarithm for classes."""
        if not math.isfinite(value.sum() + sums.square.sum()):
            raise self.broken()
        if self.learned:
            return sums.heteroscedastic(value, self.target_variance)
        if log is None:
            return sums.regression(value, self.aleatoric, self.target_variance)
        answer = sums.classification(value, log)
        if self.temperature == 1.0:
            return answer
        return replace(answer, deterministic=_untempered(value, self.temperature))

    def answer(self, numbers: Array, rows: int, outputs: int, samples: int) -> Statistics:
        """An answer for so many rows and outputs from what `Native.predict` gives."""
        by_class = numbers[: 4 * rows * outputs]
        value, mean, spread, error = by_class.reshape(4, rows, outputs)
        if self.of(outputs) == "regression":
            noise = np.full_like(mean, self.aleatoric)
            target = np.full_like(mean, self.target_variance)
            answer = DeterministicOutputs(value)
            return Regression(mean, spread, noise, target, error, answer, samples)
        information, total, epistemic = numbers[len(by_class) :].reshape(3, rows)
        classes = DeterministicClasses(value)
        return Classification(mean, spread, information, error, total, epistemic, classes, samples)

    def broken(self) -> NetworkError:
        """The error of numbers that are not finite."""
        return NetworkError("the network's outputs are not finite: check its weights")


def join(blocks: list[Statistics]) -> Statistics:
    """Answers of consecutive blocks of rows as one."""
    return blocks[0] if len(blocks) == 1 else type(blocks[0]).concatenate(blocks)  # type: ignore[arg-type]


def _untempered(tempered: Array, temperature: float) -> DeterministicClasses:
    """The probabilities (C, B) at temperature 1: softmax(z) from softmax(z / temperature)."""
    logits = temperature * np.log(np.maximum(tempered, TINY))
    return DeterministicClasses(np.ascontiguousarray(softmax(logits, axis=0).T))
