"""Masks: known answers of the generator, exact frequencies, independence, reproducibility."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mcdrop.masks import BLOCK, balanced_masks, philox, plain_masks

# Random123's kat_vectors for philox4x32, 10 rounds: counter, key, output.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
FALSE_ALARM = 1e-6  # of each statistical test below; seeds are fixed


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_philox_gives_the_published_words(counter, key, output):
    words = philox(tuple(np.array([c], np.uint32) for c in counter), key[0] | key[1] << 32)
    assert tuple(int(word[0]) for word in words) == output


@pytest.mark.parametrize("draw", [balanced_masks, lambda *a: plain_masks(*a)[:, 0]])
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9, 0.99])
def test_every_pass_and_every_unit_is_bernoulli(draw, rate):
    keep = np.concatenate([draw(seed, 0, range(BLOCK), 256, rate) for seed in range(200)])
    keep = keep.reshape(200, BLOCK, 256)
    for kept, trials in ((keep[:, t].sum(), 200 * 256) for t in range(BLOCK)):
        assert stats.binomtest(int(kept), trials, 1 - rate).pvalue > FALSE_ALARM
    # kept units of one pass: a binomial count, not a fixed one
    counts = keep[:, 5].sum(axis=1)
    spread = counts.var(ddof=1) / (256 * rate * (1 - rate)) * 199
    assert stats.chi2(199).cdf(spread) == pytest.approx(0.5, abs=0.5 - FALSE_ALARM)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_balanced_masks_are_even_over_each_block(rate):
    counts = balanced_masks(3, 1, range(4 * BLOCK), 500, rate).reshape(4, BLOCK, 500).sum(axis=1)
    expected = BLOCK * (1 - rate)
    assert set(np.unique(counts)) <= {int(np.floor(expected)), int(np.ceil(expected))}
    up = (counts == np.ceil(expected)).sum()
    if expected % 1:
        assert stats.binomtest(int(up), counts.size, expected % 1).pvalue > FALSE_ALARM


@pytest.mark.parametrize("draw", [balanced_masks, lambda *a: plain_masks(*a)[:, 0]])
def test_units_layers_and_seeds_are_uncorrelated(draw):
    rate, blocks, units = 0.4, 100, 64
    base = draw(0, 0, range(blocks * BLOCK), units, rate) - (1 - rate)

    def z_scores(other: np.ndarray) -> np.ndarray:
        # products of independent columns have variance (rate (1 - rate))^2; balanced passes are
        # negatively correlated in both factors, which adds at most 1/31 to it
        return (base * other).sum(axis=0) / (rate * (1 - rate) * np.sqrt(len(base) * 32 / 31))

    scores = np.concatenate(
        [
            z_scores(np.roll(base, 1, axis=1)),
            z_scores(np.roll(base, 17, axis=1)),
            z_scores(np.roll(base, 7 * BLOCK, axis=0)),
            z_scores(draw(0, 1, range(blocks * BLOCK), units, rate) - (1 - rate)),
            z_scores(draw(1, 0, range(blocks * BLOCK), units, rate) - (1 - rate)),
            z_scores(draw(1 << 32, 0, range(blocks * BLOCK), units, rate) - (1 - rate)),
        ]
    )
    assert np.abs(scores).max() < stats.norm.isf(FALSE_ALARM / len(scores))
    assert scores.std() < 1.2


def test_plain_passes_are_uncorrelated_and_balanced_ones_as_designed():
    rate, n = 0.5, 4000
    plain = plain_masks(0, 0, range(BLOCK), n, rate)[:, 0] - 0.5
    balanced = balanced_masks(0, 0, range(BLOCK), n, rate) - 0.5
    for masks, expected in ((plain, 0.0), (balanced, -1 / 31)):
        correlation = np.corrcoef(masks)[np.triu_indices(BLOCK, 1)]
        z = (correlation - expected) * np.sqrt(n)
        assert np.abs(z).max() < stats.norm.isf(FALSE_ALARM / len(z))


def test_rows_have_their_own_plain_masks():
    keep = plain_masks(0, 0, range(8), 64, 0.5, range(100, 140))
    again = plain_masks(0, 0, range(8), 64, 0.5, range(120, 121))
    assert np.array_equal(keep[:, 20:21], again)
    assert abs(np.corrcoef(keep[:, 0].ravel(), keep[:, 1].ravel())[0, 1]) < 5 / np.sqrt(512)


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**64 - 1),
    layer=st.integers(0, 1000),
    start=st.integers(0, 200),
    count=st.integers(0, 100),
    units=st.integers(1, 40),
    rate=st.floats(0.0, 0.999),
)
def test_any_part_of_the_masks_is_the_same_part(seed, layer, start, count, units, rate):
    whole = balanced_masks(seed, layer, range(300), units + 5, rate)
    part = balanced_masks(seed, layer, range(start, start + count), units, rate)
    assert np.array_equal(part, whole[start : start + count, :units])
    plain = plain_masks(seed, layer, range(300), units + 5, rate)
    part = plain_masks(seed, layer, range(start, start + count), units, rate)
    assert np.array_equal(part, plain[start : start + count, :, :units])


def test_rate_zero_keeps_everything():
    assert balanced_masks(0, 0, range(40), 9, 0.0).all()
    assert plain_masks(0, 0, range(40), 9, 0.0).all()
