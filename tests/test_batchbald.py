"""BatchBALD: the information of a batch, by enumeration; diversity; sampled configurations."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdrop import batchbald
from mcdrop.batchbald import batch_bald
from mcdrop.errors import InputError
from mcdrop.uncertainty import entropy


def information(samples: np.ndarray, batch: list[int]) -> float:
    """Mutual information of the labels of a batch and the pass, by its definition."""
    classes = samples.shape[2]
    joint = 0.0
    for labels in product(range(classes), repeat=len(batch)):
        p = np.mean(np.prod([samples[:, i, c] for i, c in zip(batch, labels, strict=True)], axis=0))
        joint -= p * np.log(p)
    return float(joint - sum(entropy(samples[:, i]).mean() for i in batch))


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_gains_are_the_information_that_each_row_adds(seed: int) -> None:
    samples = np.random.default_rng(seed).dirichlet(np.full(3, 0.5), size=(7, 6)) * 0.98 + 0.02 / 3
    found = batch_bald(samples, 4)
    for n in range(1, 5):
        batch = found.rows[:n].tolist()
        assert found.gains[:n].sum() == pytest.approx(information(samples, batch), abs=1e-9)
        others = set(range(6)) - set(batch[:-1])
        best = max(information(samples, [*batch[:-1], i]) for i in others)
        assert information(samples, batch) == pytest.approx(best, abs=1e-8)
    assert (np.diff(found.gains) <= 1e-9).all()  # submodular


def test_a_batch_does_not_repeat_itself() -> None:
    rng = np.random.default_rng(0)
    loud, other = rng.dirichlet([0.1, 0.1], size=(20, 1)), rng.dirichlet([0.5, 0.5], size=(20, 1))
    samples = np.concatenate([np.repeat(loud, 5, axis=1), other], axis=1)  # row 5 is the other one
    bald = entropy(samples.mean(0)) - entropy(samples).mean(0)
    assert bald[:5].min() > bald[5]
    assert set(batch_bald(samples, 2).rows.tolist()) & {5}


def test_sampled_configurations_come_near_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,024 draws of an entropy in [0, log 4]: standard error below .022 nats; 5 of them."""
    samples = np.random.default_rng(1).dirichlet(np.full(4, 0.3), size=(50, 30))
    exact = batch_bald(samples, 5)  # 4^4 = 256 configurations before the fifth
    monkeypatch.setattr(batchbald, "_every", None)  # nothing is enumerated any more
    chosen = samples[:, exact.rows[:4]]
    wanted = batchbald._expected_entropy(samples, *enumerated(chosen))
    monkeypatch.setattr(batchbald, "_CONFIGURATIONS", 255)
    weights, beliefs = batchbald._beliefs(chosen, seed=0)
    assert len(weights) == 255
    found = batchbald._expected_entropy(samples, weights, beliefs)
    assert np.abs(found - wanted).max() < 5 * np.log(4) / 2 / np.sqrt(255)


def enumerated(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array(list(product(range(chosen.shape[2]), repeat=chosen.shape[1])))
    each = [chosen[:, np.arange(chosen.shape[1]), row].prod(1) for row in labels]
    joint = np.array(each)
    return joint.mean(1), joint / joint.sum(1, keepdims=True)


def test_long_batches_are_chosen_too() -> None:
    samples = np.random.default_rng(2).dirichlet(np.ones(10), size=(30, 60))
    found = batch_bald(samples, 40, seed=1)
    assert len(set(found.rows.tolist())) == 40
    assert found.gains.sum() < np.log(30) + 0.3  # 30 passes hold no more, sampling error aside
    again = batch_bald(samples, 40, seed=1)
    assert np.array_equal(again.rows, found.rows)
    assert np.array_equal(batch_bald(samples, 8, seed=1).rows, found.rows[:8])


@pytest.mark.parametrize("k", [0, 4])
def test_batches_are_of_rows_there_are(k: int) -> None:
    with pytest.raises(InputError, match="give 1 to 3"):
        batch_bald(np.full((2, 3, 2), 0.5), k)
