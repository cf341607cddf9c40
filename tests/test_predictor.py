"""The predictor: one door, the same answer whoever asks and however the rows are grouped."""

import threading
from pathlib import Path

import numpy as np
import pytest

import mcdrop
from mcdrop.errors import InputError, RepositoryError
from mcdrop.uncertainty import Classification
from tests.models import random_pixels, save_random_classifier


@pytest.fixture
def predictor(tmp_path: Path) -> mcdrop.Predictor:
    return mcdrop.load(save_random_classifier(tmp_path))


def same(a: Classification, b: Classification) -> None:
    for name in ("mean", "std", "total", "aleatoric", "epistemic", "confidence"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6, atol=1e-7)


def test_loads_the_latest_version_or_the_one_named(tmp_path: Path) -> None:
    first, second = save_random_classifier(tmp_path), save_random_classifier(tmp_path, seed=1)
    assert mcdrop.load(tmp_path / "tiny").card.version == 2
    assert mcdrop.load(str(first)).card.version == 1
    assert mcdrop.load(second).card.version == 2
    with pytest.raises(RepositoryError, match="no trained model 'absent'"):
        mcdrop.load(tmp_path / "absent")


def test_relative_paths_have_names_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(save_random_classifier(tmp_path))
    assert mcdrop.load(".").card.name == "tiny"
    assert mcdrop.load("..").card.version == 1


def test_defaults_are_the_cards(predictor: mcdrop.Predictor) -> None:
    x = random_pixels(3)
    assert predictor.predict(x).samples == 40
    same(predictor.predict(x), predictor.predict(x, samples=40, seed=0))


def test_rows_do_not_depend_on_their_company(predictor: mcdrop.Predictor) -> None:
    x = random_pixels(700)
    together = predictor.predict(x, samples=30)
    order = np.random.default_rng(0).permutation(len(x))
    shuffled = predictor.predict(x[order], samples=30)
    np.testing.assert_allclose(shuffled.mean, together.mean[order], atol=1e-6)
    np.testing.assert_allclose(shuffled.epistemic, together.epistemic[order], atol=1e-6)
    for row in (0, 350, 699):
        alone = predictor.predict(x[row : row + 1], samples=30)
        np.testing.assert_allclose(alone.mean[0], together.mean[row], atol=1e-6)


def test_shapes_and_containers_are_equivalent(predictor: mcdrop.Predictor) -> None:
    x = random_pixels(5)
    flat = predictor.predict(x)
    same(flat, predictor.predict(x.reshape(5, 8, 8)))
    same(flat, predictor.predict(x.astype(np.uint8)))
    same(flat, predictor.predict(x.tolist()))


def test_the_seed_matters_and_nothing_else(predictor: mcdrop.Predictor) -> None:
    x = random_pixels(4)
    np.random.seed(1)
    first = predictor.predict(x, seed=7)
    np.random.seed(2)
    assert np.array_equal(first.mean, predictor.predict(x, seed=7).mean)
    assert not np.array_equal(first.mean, predictor.predict(x, seed=8).mean)


def test_threads_share_a_predictor(predictor: mcdrop.Predictor) -> None:
    x = random_pixels(64)
    expected = {seed: predictor.predict(x, seed=seed).mean for seed in range(6)}
    fresh = mcdrop.Predictor(predictor.card, predictor.network, predictor.reference)
    found: dict[int, np.ndarray] = {}

    def ask(seed: int) -> None:
        found[seed] = fresh.predict(x, seed=seed).mean

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, mean in expected.items():
        assert np.array_equal(found[seed], mean)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"samples": 0}, "samples is 0: give 1 to 10000"),
        ({"samples": 10_001}, "give 1 to 10000"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
    ],
)
def test_bad_arguments_are_named(
    predictor: mcdrop.Predictor, arguments: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        predictor.predict(random_pixels(1), **arguments)


def test_rows_of_the_wrong_width_are_refused(predictor: mcdrop.Predictor) -> None:
    with pytest.raises(InputError, match="63"):
        predictor.predict(np.zeros((2, 63)))


def test_no_rows_give_no_answers(predictor: mcdrop.Predictor) -> None:
    assert predictor.predict(np.zeros((0, 64))).mean.shape == (0, 10)


def test_as_many_passes_as_each_row_needs(predictor: mcdrop.Predictor) -> None:
    x = random_pixels(12)
    answer = predictor.predict(x, samples="auto", tolerance=0.01)
    assert answer.passes is not None
    assert (answer.mc_error.max(1)[answer.passes < 1000] <= 0.01).all()
    alone = predictor.predict(x[3:4], samples="auto", tolerance=0.01)
    assert alone.samples == answer.passes[3]
    np.testing.assert_allclose(alone.mean[0], answer.mean[3], atol=1e-5)
    same(answer, predictor.predict(x, samples="auto"))
    assert (predictor.predict(x, samples="auto", tolerance=1e-6, limit=64).passes == 64).all()
    assert predictor.predict(x).passes is None
    with pytest.raises(InputError, match="needs samples 'auto'"):
        predictor.predict(x, samples=50, tolerance=0.01)
