"""The definition of every number, on all samples at once."""

import numpy as np

from mcdrop.uncertainty.classes import TINY, Classification, DeterministicClasses, entropy
from mcdrop.uncertainty.outputs import DeterministicOutputs, Regression
from mcdrop.uncertainty.rows import Array

__all__ = ["summarize_classes", "summarize_outputs"]


def summarize_classes(samples: Array, deterministic: Array) -> Classification:
    """Summarize class probabilities of all passes: the definition, without streaming.

    Args:
        samples: (T, B, C), probabilities of each pass.
        deterministic: (B, C), probabilities without dropout.
    """
    mean = samples.mean(axis=0)
    log = np.log(np.maximum(samples, TINY))
    divergence = (samples * (log - np.log(np.maximum(mean, TINY)))).sum(axis=2)  # (T, B)
    surprise = -(samples * np.log(np.maximum(mean, TINY))).sum(axis=2)  # (T, B)
    return Classification(
        mean,
        samples.std(axis=0),
        divergence.mean(axis=0),
        _spread(samples, deterministic),
        _spread(surprise, entropy(deterministic)),
        _spread(divergence, 0.0),
        DeterministicClasses(deterministic),
        len(samples),
    )


def summarize_outputs(
    samples: Array, deterministic: Array, aleatoric: float = 0.0, target_variance: float = 0.0
) -> Regression:
    """Summarize outputs of all passes: the definition, without streaming.

    Args:
        samples: (T, B, C), outputs of each pass.
        deterministic: (B, C), outputs without dropout.
        aleatoric: variance of the noise.
        target_variance: variance of the training target, 0 if it is not known.
    """
    mean = samples.mean(axis=0)
    return Regression(
        mean,
        samples.var(axis=0),
        np.full_like(mean, aleatoric),
        np.full_like(mean, target_variance),
        _spread(samples, deterministic),
        DeterministicOutputs(deterministic),
        len(samples),
    )


def _spread(samples: Array, reference: Array | float) -> Array:
    """Standard error of the mean over independent passes, as documented for one pass."""
    error: Array
    if len(samples) == 1:
        error = np.abs(samples[0] - reference)
    else:
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return error
