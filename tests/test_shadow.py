"""A shadow answers after the one that is served, and only what differs is told."""

import pickle
import time
from pathlib import Path

import numpy as np
import pytest

import mcdrop
from mcdrop.predictions import Predictions
from mcdrop_service import shadow as module
from mcdrop_service.ask import Ask
from mcdrop_service.job import Job
from mcdrop_service.shadow import Difference, Shadow, compare
from tests.models import random_pixels, save_random_classifier

TOLD: list[Difference] = []
PIXELS = random_pixels(5)


def tell(difference: Difference) -> None:
    TOLD.append(difference)


@pytest.fixture(autouse=True)
def empty() -> None:
    TOLD.clear()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_random_classifier(folder)
    save_random_classifier(folder, seed=1)
    return folder


def answered(root: Path, version: int | None = None) -> tuple[list[Job], Predictions]:
    """What the second version was asked by two callers, and said."""
    predictor = mcdrop.load(root / "tiny" / "2")
    x = predictor.card.preprocessing.encode(PIXELS)
    ask = Ask(PIXELS, version=version, seed=3)
    jobs = [Job(ask, predictor, part, 20) for part in (x[:2], x[2:])]
    return jobs, predictor.predict(PIXELS, 20, 3)


def wait() -> Difference:
    deadline = time.monotonic() + 60
    while not TOLD:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return TOLD[0]


def test_the_difference_is_that_of_the_library_s_answers(root: Path) -> None:
    shadow = pickle.loads(pickle.dumps(Shadow(root, {"tiny": 1}, tell)))  # as to a worker
    shadow(*answered(root))
    found = wait()
    one = mcdrop.load(root / "tiny" / "2").predict(PIXELS, 20, 3)
    two = mcdrop.load(root / "tiny" / "1").predict(PIXELS, 20, 3)
    assert (found.model, found.version, found.shadow) == ("tiny", 2, 1)
    apart = np.abs(one.probabilities - two.probabilities).sum(axis=1) / 2
    np.testing.assert_allclose(found.distance, apart, atol=1e-5)
    np.testing.assert_array_equal(found.disagrees, one.prediction != two.prediction)


@pytest.mark.parametrize(
    ("versions", "version"), [({"tiny": 2}, None), ({"other": 1}, None), ({"tiny": 1}, 2)]
)
def test_what_has_no_shadow_is_left_alone(
    root: Path, versions: dict[str, int], version: int | None
) -> None:
    shadow = Shadow(root, versions, tell)
    shadow(*answered(root, version))
    assert shadow._thread is None


def test_a_broken_shadow_hurts_nobody(root: Path) -> None:
    shadow = Shadow(root, {"tiny": 9}, tell)
    shadow(*answered(root))
    save_random_classifier(root, seed=2)
    shadow.versions["tiny"] = 3
    shadow(*answered(root))
    assert wait().shadow == 3


def test_under_load_rows_are_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 2)
    monkeypatch.setattr(Shadow, "_live", lambda self: None)  # it never comes to it
    shadow = Shadow(root, {"tiny": 1}, tell)
    for _ in range(5):
        shadow(*answered(root))
    assert shadow._waiting.qsize() == 2


def test_values_are_apart_by_the_width_of_their_interval() -> None:
    class Values:
        def __init__(self, mean: list[float]) -> None:
            self.mean = np.array([mean])
            self.lower, self.upper = self.mean - 1, self.mean + 1

    one, two = Values([0.0, 0.0]), Values([0.5, -1.5])
    found = compare("m", (1, one), (2, two))  # type: ignore[arg-type]
    np.testing.assert_allclose(found.distance, [0.75])
    assert found.disagrees.tolist() == [True]


def test_versions_of_other_outputs_cannot_be_compared(root: Path) -> None:
    jobs, found = answered(root)
    with pytest.raises(ValueError, match="different outputs"):
        compare("tiny", (2, found), (1, found.rows(slice(1))))
    assert jobs
