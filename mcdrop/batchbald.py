"""Which rows to label together: BatchBALD (Kirsch, van Amersfoort & Gal 2019).

BALD scores rows one by one, so that a batch of its best repeats itself. BatchBALD scores a batch
by what its labels tell of the weights together, H[y_1..y_n] - sum_i mean_t H[p_t(y_i)] (their
equation 8), and grows it by the row that adds most. By the chain rule, row i adds

    sum_m P(m) H[y_i | m] - mean_t H[p_t(y_i)]

over the configurations m of the labels of those before it; each makes some passes likelier than
others, and so changes what is thought of row i. The information is submodular, so that a greedy
batch is within 1 - 1/e of the best. All rows must share their passes, as this library's do. The
sum is exact while there are few configurations, and then over some drawn at random (their section
3.4). Knows arrays. Refuses to know networks.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mcdrop.errors import InputError
from mcdrop.uncertainty import TINY, entropy

__all__ = ["Batch", "batch_bald"]

Floats = NDArray[np.float64]

_CONFIGURATIONS = 1024
"""Configurations of labels looked at: all there are, or as many drawn at random."""
_ENTRIES = 1 << 24  # of the arrays of joint probabilities, made block by block


@dataclass(frozen=True)
class Batch:
    """Rows to label together.

    Attributes:
        rows: (k,) places of the rows, the most informative first.
        gains: (k,) nats that each adds to those before it.
    """

    rows: NDArray[np.int64]
    gains: Floats


def batch_bald(samples: Floats, k: int, seed: int = 0) -> Batch:
    """Choose k of B rows greedily.

    With T passes no batch can be seen to tell more than log T nats: choose small batches, or take
    many passes. Gains that are equal go to the row of greater BALD.

    Args:
        samples: (T, B, C) class probabilities, the same thinned network in each pass for all rows.
        k: rows to choose, 1 to B.
        seed: of the sampled configurations.

    Raises:
        InputError: k is out of bounds.
    """
    rows = samples.shape[1]
    if not 1 <= k <= rows:
        raise InputError(f"k is {k}: give 1 to {rows}, the rows there are")
    aleatoric = entropy(samples).mean(0)  # (B,)
    bald = entropy(samples.mean(0)) - aleatoric
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        weights, beliefs = _beliefs(samples[:, np.array(chosen, np.int64)], seed)
        gain = _expected_entropy(samples, weights, beliefs) - aleatoric
        gain[chosen] = -np.inf
        best = int(np.lexsort((bald, np.round(gain, 9)))[-1])
        chosen.append(best)
        gains.append(max(0.0, float(gain[best])))
    return Batch(np.array(chosen), np.array(gains))


def _beliefs(chosen: Floats, seed: int) -> tuple[Floats, Floats]:
    """What the labels of the rows chosen, (T, n, C), may be, and what each would say of the passes.

    Returns:
        The probability of each configuration (M,), and the passes' posterior given it (M, T).
    """
    passes, count, classes = chosen.shape
    exact = classes**count <= _CONFIGURATIONS
    labels = _every(classes, count) if exact else _drawn(chosen, seed)  # (M, n)
    log = np.zeros((len(labels), passes))
    for j in range(count):
        log += np.log(np.maximum(chosen[:, j, labels[:, j]], TINY)).T
    likely = np.exp(log).mean(1) if exact else np.ones(len(labels))
    return likely / likely.sum(), np.asarray(softmax(log, axis=1))


def _every(classes: int, count: int) -> NDArray[np.int64]:
    return np.array(list(product(range(classes), repeat=count)), np.int64)


def _drawn(chosen: Floats, seed: int) -> NDArray[np.int64]:
    """Configurations (M, n) drawn: a pass, and each row's label by that pass."""
    generator = np.random.default_rng(seed)
    which = generator.integers(0, len(chosen), _CONFIGURATIONS)
    columns = []
    for j in range(chosen.shape[1]):  # in order, so that a longer batch begins with a shorter's
        below = chosen[which, j].cumsum(1) < generator.random((_CONFIGURATIONS, 1))
        columns.append(np.minimum(below.sum(1), chosen.shape[2] - 1))
    return np.stack(columns, axis=1)


def _expected_entropy(samples: Floats, weights: Floats, beliefs: Floats) -> Floats:
    """Entropy of each row's label once those of the batch are known, on average, (B,)."""
    passes, rows, classes = samples.shape
    found = np.empty(rows)
    size = max(1, _ENTRIES // (len(beliefs) * classes))
    for start in range(0, rows, size):
        some = samples[:, start : start + size]  # (T, b, C)
        p = (beliefs @ some.reshape(passes, -1)).reshape(len(beliefs), -1, classes)  # (M, b, C)
        found[start : start + size] = weights @ entropy(p)
    return found
