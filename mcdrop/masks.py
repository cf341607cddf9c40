"""Dropout masks from a seed: which units each pass keeps.

Knows counters, bits and probabilities. Refuses to know tensors, networks and rows of data. The
bits come from Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011) with the seed as key and (unit block, pass, row, layer) as counter, so that any mask can be
drawn alone, in any order, by any program, and is always the same mask.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "MULTIPLIERS", "WEYL", "balanced_masks", "philox", "plain_masks"]

Words = NDArray[np.uint32]
Mask = NDArray[np.bool_]

BLOCK = 32  # passes over which a balanced mask evens out; a power of two

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_COUNTS = 1 << 31  # layer bit of the stream that rounds the number of kept passes


def philox(counter: tuple[Words, Words, Words, Words], key: int) -> tuple[Words, ...]:
    """Draw Philox 4x32-10 words.

    Args:
        counter: the four counter words, arrays that broadcast together.
        key: 64 bits; the low half is the first key word.

    Returns:
        The four output words, uint32 arrays of the broadcast shape.
    """
    c0, c1, c2, c3 = (np.asarray(word, dtype=np.uint64) for word in counter)
    k0, k1 = key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF
    for _ in range(10):
        left, right = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = (right >> np.uint64(32)) ^ c1 ^ np.uint64(k0), right & _LOW
        c2, c3 = (left >> np.uint64(32)) ^ c3 ^ np.uint64(k1), left & _LOW
        k0, k1 = k0 + WEYL[0] & 0xFFFFFFFF, k1 + WEYL[1] & 0xFFFFFFFF
    shape = np.broadcast_shapes(c0.shape, c1.shape, c2.shape, c3.shape)
    return tuple(np.broadcast_to(word, shape).astype(np.uint32) for word in (c0, c1, c2, c3))


def plain_masks(
    seed: int, layer: int, passes: range, units: int, rate: float, rows: range = range(1)
) -> Mask:
    """Draw Bernoulli masks, independent in everything: keep where a word is >= ``rate * 2**32``.

    Args:
        seed: key of the generator, 0 <= seed < 2**64.
        layer: index of the dropout layer.
        passes: passes to draw.
        units: units of the layer.
        rate: dropout rate, the probability of dropping.
        rows: rows to draw; one row stands for all where they share masks.

    Returns:
        (passes, rows, units), True where the unit is kept.
    """
    words = _words(seed, layer, passes, units, rows)  # (T, B, units)
    keep: Mask = words >= np.uint32(min(round(rate * 2**32), 2**32 - 1))
    return keep


def balanced_masks(
    seed: int, layer: int, passes: range, units: int, rate: float, row: int = 0
) -> Mask:
    """Draw masks that are even over each block of 32 passes.

    A unit is kept in n of the 32 passes, n being 32 (1 - rate) rounded down or up at random so
    that its mean is exact; which n is uniform. Every single pass is therefore exactly Bernoulli,
    and units are independent; only the passes of a block are negatively correlated, which makes
    averages over passes more accurate (stratified sampling).

    Args: as in `plain_masks`; all rows share the masks of one ``row``.

    Returns:
        (passes, units), True where the unit is kept.
    """
    if not passes:
        return np.zeros((0, units), np.bool_)
    first, last = passes[0] // BLOCK, passes[-1] // BLOCK + 1
    whole = range(first * BLOCK, last * BLOCK)
    rank = np.arange(BLOCK, dtype=np.uint32)[:, None]
    rows = range(row, row + 1)
    keys = _words(seed, layer, whole, units, rows).reshape(-1, BLOCK, units)
    keys = keys & ~np.uint32(BLOCK - 1) | rank  # ties cannot happen  (blocks, 32, units)
    expected = BLOCK * (1.0 - rate)
    floor = int(expected)
    draws = _words(seed, layer | _COUNTS, range(first, last), units, rows)[:, 0]  # (blocks, units)
    up = draws.astype(np.uint64) < np.uint64(round((expected - floor) * 2**32))
    order = np.sort(keys, axis=1)
    limits = np.concatenate([order, np.full_like(order[:, :1], 0xFFFFFFFF)], axis=1)
    limit = np.take_along_axis(limits, (floor + up)[:, None, :], axis=1)
    keep: Mask = (keys < limit) | (floor + up == BLOCK)[:, None, :]
    start = passes[0] - whole[0]
    return keep.reshape(-1, units)[start : start + len(passes)]


def _words(
    seed: int, layer: int, passes: range, units: int, rows: range = range(1)
) -> NDArray[np.uint32]:
    """Words by pass, row and unit; four neighboring units share one counter."""
    words = philox(
        (
            np.arange(-(-units // 4), dtype=np.uint32),
            np.asarray(passes, dtype=np.uint32)[:, None, None],
            np.asarray(rows, dtype=np.uint32)[:, None],
            np.uint32(layer) + np.zeros(1, np.uint32),
        ),
        seed,
    )
    shape = (len(passes), len(rows), -(-units // 4) * 4)
    return np.stack(words, axis=-1).reshape(shape)[:, :, :units]
