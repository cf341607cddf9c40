"""From passes to numbers: mean, spread, entropies, confidence, Monte Carlo error.

Knows arrays of samples and the definition of every number the library gives. Refuses to know
networks, tensors and files. `summarize_classes` and `summarize_outputs` are the definitions, on
all samples at once; the engine arrives at the same numbers by streaming.
"""

from mcdrop.uncertainty.classes import TINY, Classification, DeterministicClasses, entropy
from mcdrop.uncertainty.definition import summarize_classes, summarize_outputs
from mcdrop.uncertainty.outputs import DeterministicOutputs, Regression
from mcdrop.uncertainty.rows import Array

__all__ = [
    "TINY",
    "Array",
    "Classification",
    "DeterministicClasses",
    "DeterministicOutputs",
    "Regression",
    "entropy",
    "summarize_classes",
    "summarize_outputs",
]
