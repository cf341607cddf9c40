"""The report: its numbers are the library's, its page stands alone, its words are honest."""

import base64
import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from typer.testing import CliRunner

import mcdrop
from mcdrop import metrics
from mcdrop.cli import app
from mcdrop.data.sources import load_dataset, raw_split
from mcdrop.errors import DataError, InputError
from mcdrop.evaluation import evaluate, labeled_rows, own_test_rows, strange_rows
from mcdrop.evaluation.corruption import corrupt
from mcdrop.evaluation.tree import as_json
from mcdrop.evaluation.words import number, verdicts
from mcdrop.metrics import Estimate
from mcdrop.predictions import ValuePredictions
from mcdrop.recipe import Recipe
from mcdrop.repository import read_card
from tests.models import SIZES, random_pixels, save_random_classifier, save_table_model


@pytest.fixture(scope="module")
def report(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the digits model, with noise as strange rows."""
    out = tmp_path_factory.mktemp("reports") / "digits"
    noise = out.parent / "noise.npz"
    np.savez(noise, x=np.random.default_rng(0).integers(0, 17, (200, 8, 8)))
    arguments = ["evaluate", str(digits_model), "--ood", str(noise), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.strip().endswith("report.html")
    return out


@pytest.fixture(scope="module")
def numbers(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((report / "metrics.json").read_text())
    return found


def test_numbers_are_those_of_the_card(digits_model: Path, numbers: dict[str, Any]) -> None:
    card = read_card(digits_model)
    assert numbers["n"] == card.rows["test"]
    for answer, scores in card.metrics.items():
        for name, value in scores.items():
            assert numbers[answer][name] == pytest.approx(value, abs=1e-9)
            ends = numbers["intervals"][answer][name]
            assert ends["low"] <= value <= ends["high"]
            assert ends["n"] == numbers["n"]


def test_coverage_and_novelty_are_measured(digits_model: Path, numbers: dict[str, Any]) -> None:
    model = mcdrop.load(digits_model)
    test = load_dataset(model.card.recipe).test
    answer = model.reference.apply(model.evaluate(test.x))
    covered = answer.prediction_set[np.arange(len(test)), test.y]  # type: ignore[union-attr]
    assert numbers["conformal"]["coverage"] == covered.mean()
    assert set(numbers["conformal"]["classes"]) == set("0123456789")
    assert numbers["ood"]["n"] == 200
    assert numbers["ood"]["auroc"] > 0.9
    assert 0 <= numbers["abstention"]["error_rate"] <= 0.1
    assert len(numbers["corruption"]["rotation"]) == 10
    assert numbers["corruption"]["rotation"][0]["accuracy"] == numbers["served"]["accuracy"]


def test_the_curve_is_of_prefixes(digits_model: Path, numbers: dict[str, Any]) -> None:
    model = mcdrop.load(digits_model)
    test = load_dataset(model.card.recipe).test
    points = {point["samples"]: point for point in numbers["t_curve"]}
    assert list(points) == [1, 2, 3, 5, 10, 20, 30, 50, 100]
    for samples in (30, 100):
        mean = model.evaluate(test.x, samples).mean
        assert points[samples]["nll"] == pytest.approx(metrics.nll(mean, test.y), rel=1e-3)
    assert points[1]["error"] > 3 * points[100]["error"]
    assert points[100]["ood_auroc"] > points[1]["ood_auroc"] == 0.5


def test_the_page_stands_alone(report: Path) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    figures = sorted((report / "figures").glob("*.png"))
    assert {f.stem for f in figures} >= {"reliability", "risk_coverage", "uncertainty", "extremes"}
    for figure in figures:
        assert base64.b64encode(figure.read_bytes()).decode() in page
    assert not list(report.rglob("*.part"))


def test_every_number_has_rows_and_an_interval(numbers: dict[str, Any]) -> None:
    plain = {"samples", "seed", "n", "level", "risk", "version", "strength", "chance"}

    def check(values: Any, ends: Any, path: str) -> None:
        if isinstance(values, dict):
            for name, child in values.items():
                if name not in plain and not isinstance(child, str):
                    check(child, ends[name], f"{path}.{name}")
        elif isinstance(values, list):
            for i, child in enumerate(values):
                check(child, ends[i], f"{path}[{i}]")
        else:
            assert set(ends) == {"low", "high", "n"}, path

    skipped = {"intervals", "model", "verdict"}
    shown = {name: child for name, child in numbers.items() if name not in skipped}
    check(shown, numbers["intervals"], "")


def small(tmp_path: Path, classes: tuple[str, ...] = tuple("0123456789")) -> mcdrop.Predictor:
    return mcdrop.load(save_random_classifier(tmp_path, fields={"classes": classes}))


def test_labels_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    pixels, y = (a[:20] for a in raw_split("digits", "test"))
    flat = pixels.reshape(20, -1)
    np.savez(tmp_path / "rows.npz", x=pixels, y=y)
    table = pa.table({f"p{i}": flat[:, i] for i in range(64)} | {"label": y})
    pa_csv.write_csv(table, tmp_path / "rows.csv")
    lists = pa.table({"x": pa.array(flat.tolist()), "y": y})
    pa.parquet.write_table(lists, tmp_path / "rows.parquet")
    card = small(tmp_path).card
    for name in ("rows.npz", "rows.csv", "rows.parquet"):
        rows = labeled_rows(card, tmp_path / name)
        assert np.array_equal(rows.truth, y)
        assert rows.images is not None
        assert np.array_equal(rows.images, pixels)


def test_numbers_are_indices_where_classes_have_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((3, 64)), y=[0, 9, 2])
    card = small(tmp_path, tuple("abcdefghij")).card
    assert labeled_rows(card, tmp_path / "rows.npz").truth.tolist() == [0, 9, 2]
    np.savez(tmp_path / "named.npz", x=np.zeros((2, 64)), y=["c", "a"])
    assert labeled_rows(card, tmp_path / "named.npz").truth.tolist() == [2, 0]


def test_rows_without_known_truth_are_refused(tmp_path: Path) -> None:
    card = small(tmp_path).card
    np.savez(tmp_path / "rows.npz", x=np.zeros((2, 64)), y=[1, 11])
    with pytest.raises(DataError, match="'11'"):
        labeled_rows(card, tmp_path / "rows.npz")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column for the truth"):
        labeled_rows(card, tmp_path / "rows.csv")


def test_strange_sets_are_brought_to_the_models_size(tmp_path: Path) -> None:
    card = small(tmp_path).card
    rows = strange_rows(card, "digits", None)
    assert np.allclose(rows.raw, raw_split("digits", "test")[0])
    assert len(rows.truth) == 0
    with pytest.raises(DataError, match="'digits', 'fashion-mnist', 'mnist'"):
        strange_rows(card, "absent.npz", None)


def test_strange_rows_are_read_as_torchvisions_files_are(tmp_path: Path) -> None:
    pixels = random_pixels(3).astype(np.uint8).reshape(3, 8, 8)
    head = struct.pack(">HBBIII", 0, 8, 3, *pixels.shape)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(head + pixels.tobytes()))
    rows = strange_rows(small(tmp_path).card, str(path), None)
    assert np.array_equal(rows.raw, pixels)
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="damaged"):
        strange_rows(small(tmp_path).card, str(path), None)


@pytest.mark.data
def test_a_named_set_of_another_size_fits(tmp_path: Path, data_root: Path) -> None:
    images = strange_rows(small(tmp_path).card, "mnist", data_root).images
    assert images is not None
    assert images.shape == (10_000, 8, 8)
    assert images.min() >= 0
    assert 12 < images.max() <= 16


def test_test_rows_that_cannot_be_told_are_refused(tmp_path: Path, digits_model: Path) -> None:
    card = small(tmp_path).card  # its fingerprint is of no data
    with pytest.raises(DataError, match="not those that version 1 was trained on"):
        own_test_rows(card, None, [tmp_path])
    table = {"data": {"source": "table", "train": "gone.csv", "target": "y"}}
    moved = card.model_copy(update={"recipe": Recipe.model_validate(table)})
    with pytest.raises(DataError, match=r"give --data-root, or other labeled rows by --data"):
        own_test_rows(moved, None, [tmp_path])
    own = own_test_rows(read_card(digits_model), None, [tmp_path])
    assert np.array_equal(own.truth, raw_split("digits", "test")[1])


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[mcdrop.Predictor, Path]:
    folder = tmp_path_factory.mktemp("line")
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 1500)
    y = 3 * x + rng.normal(size=1500)
    rows = pa.table({"id": np.arange(1500), "x": x, "y": y})
    pa_csv.write_csv(rows, folder / "rows.csv")
    data = {"source": "table", "train": "rows.csv", "target": "y", "calibration_share": 0.3}
    data["drop"] = ["id"]
    recipe = {
        "task": "regression",
        "data": data,
        "network": {"hidden": [16], "dropout": 0.05},
        "training": {"lr": 0.01, "epochs": 10},
    }
    model = mcdrop.train(Recipe.model_validate(recipe), "line", folder / "models", base=folder)
    return mcdrop.load(model), folder


def test_a_regression_is_reported(line: tuple[mcdrop.Predictor, Path], tmp_path: Path) -> None:
    model, folder = line
    rows = own_test_rows(model.card, None, [tmp_path, folder])
    pa_csv.write_csv(pa.table({"x": np.linspace(3, 9, 40)}), tmp_path / "far.csv")
    far = strange_rows(model.card, str(tmp_path / "far.csv"), None)
    found = evaluate(model, rows, tmp_path / "out", strange=far, samples=40)
    assert found["n"] == 300
    assert found["served"]["rmse"] == pytest.approx(1, abs=0.15)
    low, high = found["conformal"]["chance"]  # fails for one seed in twenty; this is none
    assert low <= found["conformal"]["coverage"] <= high
    assert found["gaussian"]["coverage"] == pytest.approx(0.95, abs=0.05)
    assert found["served"]["quantile_error"] < 0.06
    assert found["served"]["log_likelihood"] == pytest.approx(-found["served"]["nll"], abs=0.05)
    assert found["ood"]["auroc"] > 0.95
    assert [point["samples"] for point in found["t_curve"]] == [1, 2, 3, 5, 10, 20, 30, 40]
    figures = {p.stem for p in (tmp_path / "out/figures").iterdir()}
    assert figures == {"fit", "quantiles", "uncertainty", "coverage", "t_curve"}


def test_several_targets_are_reported_each_in_its_own_unit(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    noise = {"noise": [0.25, 4e6], "target_variance": [9.0, 16e6]}
    fields = {"targets": ("mass", "price"), "calibration": noise}
    model = mcdrop.load(save_table_model(tmp_path, "sizes", SIZES, **fields))
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) * [1, 1000]
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    found = evaluate(model, labeled_rows(model.card, tmp_path / "rows.npz"), tmp_path, samples=8)
    answer = model.predict(x, 8)
    assert isinstance(answer, ValuePredictions)
    assert found["served"]["rmse"] == pytest.approx(metrics.rmse(answer.mean, y))
    covered = (answer.lower <= y) & (y <= answer.upper)
    for c, name in enumerate(("mass", "price")):
        moments = answer.mean[:, c], answer.total[:, c], y[:, c]
        error = metrics.rmse(answer.mean[:, c], y[:, c])
        fixed = metrics.rmse(answer.deterministic.mean[:, c], y[:, c])
        assert found["served"][f"rmse_{name}"] == pytest.approx(error)
        assert found["deterministic"][f"rmse_{name}"] == pytest.approx(fixed)
        assert found["difference"][f"rmse_{name}"] == pytest.approx(error - fixed)
        assert found["served"][f"nll_{name}"] == pytest.approx(metrics.gaussian_nll(*moments))
        assert found["served"][f"crps_{name}"] == pytest.approx(metrics.crps_gaussian(*moments))
        assert found["conformal"]["targets"][name] == covered[:, c].mean()
        width = metrics.interval_width(answer.lower[:, c], answer.upper[:, c])
        assert found["conformal"]["widths"][name] == pytest.approx(width)
        lower, upper = answer.interval(0.95)
        width = metrics.interval_width(lower[:, c], upper[:, c])
        assert found["gaussian"]["widths"][name] == pytest.approx(width)
        assert found["intervals"]["served"][f"rmse_{name}"]["low"] <= error
    gaps = {name: found["difference"][f"rmse_{name}"] for name in ("mass", "price")}
    larger = ", ".join(name for name, gap in gaps.items() if gap > 0) or "none"
    assert found["verdict"][0].startswith("Of 2 targets, ")
    assert found["verdict"][0].endswith(f"deterministic answer for {larger}.")
    page = (tmp_path / "report.html").read_text()
    for words in ("rmse price", "coverage, level 0.9", "width, gaussian 95 %"):
        assert words in page


def test_a_report_that_cannot_be_written_says_so(
    line: tuple[mcdrop.Predictor, Path], tmp_path: Path
) -> None:
    model, folder = line
    rows = own_test_rows(model.card, None, [folder])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        evaluate(model, rows, tmp_path / "file" / "out", samples=8)


def test_rotation_noise_and_occlusion_are_what_they_say() -> None:
    images = np.random.default_rng(0).uniform(2, 10, (50, 9, 9))
    for kind in ("rotation", "noise", "occlusion"):
        assert np.array_equal(corrupt(images, kind, 0, (2, 10)), images)
    turned = corrupt(images, "rotation", 90, (2, 10))
    np.testing.assert_allclose(turned, np.rot90(images, axes=(1, 2)), atol=1e-9)
    noisy = corrupt(np.full((50, 9, 9), 6.0), "noise", 0.1, (2, 10))
    assert np.std(noisy) == pytest.approx(0.8, rel=0.05)  # 4,050 values: standard error 1.1 %
    hidden = corrupt(images, "occlusion", 0.5, (2, 10))
    assert ((hidden != images).sum((1, 2)) == 16).all()  # round(4.5) = 4 a side
    assert (hidden[hidden != images] == 6).all()


def test_nothing_that_is_not_finite_reaches_json() -> None:
    tree = {"a": Estimate(float("nan"), float("nan"), float("nan"), 3), "b": [float("inf")]}
    found = as_json(tree)
    assert found == {
        "a": None, "b": [None], "intervals": {"a": {"low": None, "high": None, "n": 3}}
    }  # fmt: skip


def bad_news(nll: float, low: float) -> str:
    def score(value: float, below: float | None = None) -> Estimate:
        return Estimate(value, value - 0.01 if below is None else below, value + 0.01, 100)

    return verdicts(
        {
            "deterministic": {"nll": score(0.1), "ece": score(0.01)},
            "served": {"nll": score(0.1 + nll), "ece": score(0.01)},
            "difference": {"nll": score(nll, low), "ece": score(0.0)},
            "conformal": {"level": 0.9, "coverage": score(0.8), "chance": (0.85, 0.95)},
        }
    )[0]


def test_the_report_says_plainly_where_passes_calibrate_worse() -> None:
    assert "is better calibrated" in bad_news(-0.02, -0.03)
    assert "worse calibrated than the deterministic one by NLL, more than" in bad_news(0.02, 0.01)
    assert "not by more than chance explains" in bad_news(0.02, -0.01)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (0.01234, "0.0123"), (1e-5, "1e-05"), (1234.5, "1.23e+03")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
    assert number(float("nan")) == "–"
