"""Answers are kept, labels find them, and the report says how right they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mcdrop
from mcdrop import metrics
from mcdrop.errors import InputError, RepositoryError
from mcdrop.predictions import ClassPredictions, ValuePredictions
from mcdrop_service.ask import Ask
from mcdrop_service.assessment import assess, assess_targets, tell_level
from mcdrop_service.feedback import ADAPTED, Keeper, Ledger
from mcdrop_service.job import Job
from tests.models import SIZES, random_pixels, save_random_classifier, save_table_model


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> mcdrop.Predictor:
    return mcdrop.load(save_random_classifier(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> mcdrop.Predictor:
    noise = {"noise": [0.25, 4.0], "target_variance": [9.0, 16.0]}
    root = tmp_path_factory.mktemp("models")
    fields = {"targets": ("mass", "price"), "calibration": noise}
    return mcdrop.load(save_table_model(root, "sizes", SIZES, **fields))


def keep(
    keeper: Keeper,
    predictor: mcdrop.Predictor,
    rows: np.ndarray,
    *parts: tuple[str, int],
    **more: object,
) -> ClassPredictions | ValuePredictions:
    """Answer ``rows`` as requests of so many rows each, and keep the answers."""
    jobs, start = [], 0
    for name, count in parts:
        ask = Ask(rows[start : start + count], id=name, extra=more)
        jobs.append(Job(ask, predictor, rows[start : start + count].astype(np.float32), 40))
        start += count
    found = predictor.predict(rows, 40)
    keeper(jobs, found)
    keeper.drain()
    return found


def test_a_classifier_s_report_is_that_of_the_metrics(
    tmp_path: Path, classifier: mcdrop.Predictor, rng: np.random.Generator
) -> None:
    keeper, ledger = Keeper(tmp_path / "f.db", 1000), Ledger(tmp_path / "f.db")
    found = keep(keeper, classifier, random_pixels(200), ("a", 120), ("b", 80))
    assert isinstance(found, ClassPredictions)
    assert ledger.read("tiny", 1) is None
    labels = rng.integers(0, 10, 200)
    texts = [str(label) for label in labels]
    assert ledger.label("a", texts[:120]) == 120
    assert ledger.label("b", [*texts[120:199], None]) == 79
    kept = ledger.read("tiny", 1)
    assert kept is not None
    report, known = assess(kept), slice(0, 199)
    covered = found.prediction_set[np.arange(199), labels[known]]
    p, y = found.probabilities[known], labels[known]
    assert report["accuracy"] == pytest.approx(metrics.accuracy(p, y))
    assert report["nll"] == pytest.approx(metrics.nll(p, y))
    assert report["ece"] == pytest.approx(metrics.ece(p, y))
    assert report["coverage"] == pytest.approx(covered.mean())
    assert report["coverage_bound"] < report["coverage"]
    assert report["set_size"] == pytest.approx(found.prediction_set[known].sum(1).mean())
    assert report["level"] == pytest.approx(0.9)


def test_a_regression_s_report_has_its_intervals(
    tmp_path: Path, regression: mcdrop.Predictor, rng: np.random.Generator
) -> None:
    keeper, ledger = Keeper(tmp_path / "f.db", 1000), Ledger(tmp_path / "f.db")
    found = keep(keeper, regression, rng.normal(size=(60, 2)), ("a", 60))
    assert isinstance(found, ValuePredictions)
    truth = found.mean + rng.normal(size=(60, 2))
    records = [dict(zip(("mass", "price"), row, strict=True)) for row in truth.tolist()]
    assert ledger.label("a", records) == 60
    kept = ledger.read("sizes", 1)
    assert kept is not None
    report = assess(kept)
    inside = metrics.interval_coverage(found.lower, found.upper, truth)
    assert report["coverage"] == pytest.approx(inside)
    assert report["rmse"] == pytest.approx(metrics.rmse(found.mean, truth))
    assert report["nll"] == pytest.approx(metrics.gaussian_nll(found.mean, found.total, truth))
    assert report["width"] == pytest.approx(metrics.interval_width(found.lower, found.upper))
    mass, price = assess_targets(kept, ("mass", "price")).values()
    assert mass.keys() == price.keys() == report.keys()
    assert mass["coverage"] == ((found.lower <= truth) & (truth <= found.upper))[:, 0].mean()
    assert price["rmse"] == pytest.approx(metrics.rmse(found.mean[:, 1], truth[:, 1]))
    assert price["width"] == pytest.approx((found.upper - found.lower)[:, 1].mean())
    assert assess_targets(kept.target(1), ("price",)) == {}


def test_labels_are_taken_once_and_have_to_fit(
    tmp_path: Path, classifier: mcdrop.Predictor, regression: mcdrop.Predictor
) -> None:
    keeper, ledger = Keeper(tmp_path / "f.db", 1000), Ledger(tmp_path / "f.db")
    keep(keeper, classifier, random_pixels(2), ("a", 2))
    keep(keeper, regression, np.ones((1, 2)), ("r", 1))
    assert ledger.label("a", ["3", None]) == 1
    assert ledger.label("a", ["4", "5"]) == 1  # the first label of a row stays
    kept = ledger.read("tiny", 1)
    assert kept is not None
    assert sorted(kept.labels.argmax(1)) == [3, 5]
    with pytest.raises(RepositoryError, match="no answer to request 'x'"):
        ledger.label("x", ["1"])
    for request, labels in [
        ("a", ["1"]),
        ("a", ["cat", "1"]),
        ("a", [1, 2]),
        ("a", [["1"], {}]),
        ("r", [1.0]),
        ("r", [{"mass": 1.0}]),
        ("r", [{"mass": 1.0, "price": float("nan")}]),
        ("r", [{"mass": True, "price": 1.0}]),
        ("r", [{"mass": "1", "price": 1.0}]),
        ("r", [{"mass": 10**400, "price": 1.0}]),
    ]:
        with pytest.raises(InputError, match="wanted"):
            ledger.label(request, labels)


def test_the_oldest_rows_go_first(tmp_path: Path, classifier: mcdrop.Predictor) -> None:
    keeper, ledger = Keeper(tmp_path / "f.db", 10), Ledger(tmp_path / "f.db")
    for name in "abc":
        keep(keeper, classifier, random_pixels(5), (name, 5))
    with pytest.raises(RepositoryError):
        ledger.label("a", ["1"] * 5)
    assert ledger.label("b", ["1"] * 5) == 5
    assert ledger.label("c", ["1"] * 5) == 5


def test_an_id_that_comes_twice_keeps_its_first_answer(
    tmp_path: Path, classifier: mcdrop.Predictor
) -> None:
    keeper, ledger = Keeper(tmp_path / "f.db", 100), Ledger(tmp_path / "f.db")
    first = keep(keeper, classifier, random_pixels(1), ("a", 1))
    keep(keeper, classifier, random_pixels(1, seed=5), ("a", 1))
    ledger.label("a", ["1"])
    kept = ledger.read("tiny", 1)
    assert kept is not None
    assert kept.answers[:, 0].tolist() == first.mean.tolist()


def test_levels_follow_what_was_missed_and_only_where_the_server_chose_them(
    tmp_path: Path, classifier: mcdrop.Predictor
) -> None:
    keeper = Keeper(tmp_path / "f.db", 10_000)
    ledger = Ledger(tmp_path / "f.db", step=0.05)
    assert ledger.level("tiny", 1, 0.9) == pytest.approx(0.9)
    found = keep(keeper, classifier, random_pixels(50), ("own", 50), **{ADAPTED: True})
    keep(keeper, classifier, random_pixels(50), ("theirs", 50))
    assert isinstance(found, ClassPredictions)
    outside = [
        str(int(np.flatnonzero(~row)[0])) if not row.all() else None for row in found.prediction_set
    ]
    misses = sum(label is not None for label in outside)
    assert misses > 5
    ledger.label("theirs", outside)
    assert ledger.adaptive("tiny", 1, 0.9).rows == 0
    ledger.label("own", outside)
    state = ledger.adaptive("tiny", 1, 0.9)
    assert (state.rows, state.missed) == (misses, misses)
    assert state.moved == pytest.approx(misses * 0.05 * (0.1 - 1))
    assert state.level == pytest.approx(1 - 1e-9)
    told = tell_level(state)
    assert (told["coverage"], told["rows"]) == (0.0, misses)
    assert Ledger(tmp_path / "f.db", 0.05).level("tiny", 1, 0.9) == pytest.approx(state.level)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be kept in"):
        Ledger(tmp_path / "none" / "f.db").read("tiny", 1)
    (tmp_path / "text").write_text("this is no database, and it is long enough to tell" * 20)
    with pytest.raises(InputError, match="cannot be kept in"):
        Ledger(tmp_path / "text").read("tiny", 1)


def test_an_unlabeled_state_has_no_numbers_that_are_none() -> None:
    from mcdrop.adaptive import AdaptiveLevel

    assert tell_level(AdaptiveLevel(0.9))["coverage"] is None
    assert replace(AdaptiveLevel(0.9)).bound == 1.0
