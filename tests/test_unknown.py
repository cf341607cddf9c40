"""What training never met: told by every answer about a row, and abstained from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mcdrop
from mcdrop import cli
from mcdrop.calibration import Reference, row_strangeness
from mcdrop.data.preprocessing import Inputs
from mcdrop.recipe import CalibrationRecipe, Recipe
from mcdrop.scoring import score
from mcdrop.uncertainty import summarize_classes
from mcdrop_service.answers import validate
from mcdrop_service.ask import Ask
from tests.calibrated import classify
from tests.serving import serving
from tests.strange import RECORDS, UNKNOWN, names, people


def train(folder: Path, task: str) -> Path:
    pa_csv.write_csv(people(), folder / "people.csv")
    target, drop = ("y", "z") if task == "classification" else ("z", "y")
    recipe = Recipe.model_validate(
        {
            "task": task,
            "data": {"source": "table", "train": "people.csv", "target": target, "drop": [drop]},
            "network": {"hidden": [32], "dropout": 0.2},
            "training": {"epochs": 15},
            "samples": 32,
        }
    )
    return mcdrop.train(recipe, task, folder / "models", base=folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unknown")
    train(folder, "classification")
    train(folder, "regression")
    return folder / "models"


@pytest.fixture(scope="module", params=["classification", "regression"])
def model(request: pytest.FixtureRequest, root: Path) -> mcdrop.Predictor:
    return mcdrop.load(root / request.param)


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    with serving(root) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


def test_a_row_is_as_novel_as_can_be_where_a_value_is_unknown(model: mcdrop.Predictor) -> None:
    answer = model.predict(RECORDS, samples=16)
    told = names(
        Inputs(np.zeros((0, 1), np.float32), answer.unknown), model.card.preprocessing.columns
    )
    assert told == UNKNOWN
    strange = [bool(columns) for columns in UNKNOWN]
    assert (answer.novelty[strange] == 1).all()
    assert (answer.novelty[:1] < 1).all()
    if model.card.classes:
        assert answer.abstain[strange].all()
        lenient = model.predict(RECORDS, samples=16, risk=0.5)
        np.testing.assert_array_equal(lenient.abstain, strange)


def test_the_answer_itself_is_what_it_was(model: mcdrop.Predictor) -> None:
    """What is unknown changes how far an answer can be trusted; it does not change the passes."""
    answer = model.predict(RECORDS, samples=16)
    x = model.card.preprocessing.encode(RECORDS)
    np.testing.assert_array_equal(answer.mean, model.evaluate(x, 16).mean)
    assert not model.reference.apply(model.evaluate(x, 16)).unknown.any()


def half_unknown(seed: int, rows: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Rows of which a fifth have an unknown cell, and are answered at random."""
    passes, y = classify(seed, rows)
    unknown = np.random.default_rng(seed + 100).random((rows, 1)) < 0.2
    y = np.where(unknown[:, 0], (y + seed) % 4, y)
    return summarize_classes(passes, passes.mean(0)), y, unknown


def test_promises_hold_where_calibration_rows_have_unknown_cells_too() -> None:
    answer, y, unknown = half_unknown(1, 4000)
    pilot, truth, other = half_unknown(2, 1000)
    reference = Reference.measure(CalibrationRecipe(), answer, y, pilot, truth, unknown, other)
    answer, y, unknown = half_unknown(3, 20_000)
    for risk in (0.2, 0.3):
        found = reference.apply(answer, risk=risk, unknown=unknown)
        assert found.abstain[unknown[:, 0]].all()
        given_ = ~found.abstain
        assert (found.prediction != y)[given_].mean() < risk
        promised = reference.promise(risk).answered
        assert promised == pytest.approx(given_.mean(), abs=0.05)
    # Ranked together, rows to come are as the calibration rows: a fifth above all the others.
    top = found.novelty[unknown[:, 0]]
    assert np.ptp(top) == 0
    assert top[0] == pytest.approx(0.8, abs=0.03)
    assert found.novelty[~unknown[:, 0]].max() <= top[0]
    assert np.isfinite(row_strangeness(answer, unknown)).all()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_scoring_tells_of_every_row(model: mcdrop.Predictor, tmp_path: Path, suffix: str) -> None:
    full = [{"size": None, "age": None, "color": None, "town": None, **row} for row in RECORDS]
    table = pa.Table.from_pylist(full)
    source = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        pa_csv.write_csv(table, source)
    elif suffix == "parquet":
        pq.write_table(table, source)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in full))
    summary = score(model, source, tmp_path / "out.parquet", samples=8)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["unknown"].to_pylist() == UNKNOWN
    assert summary.unknown == sum(map(bool, UNKNOWN))
    assert (out["novelty"].to_numpy()[list(map(bool, UNKNOWN))] == 1).all()
    score(model, source, tmp_path / "out.csv", samples=8)
    texts = pa_csv.read_csv(tmp_path / "out.csv")["unknown"].to_pylist()
    assert [text or "" for text in texts] == ["|".join(columns) for columns in UNKNOWN]


@pytest.mark.parametrize("name", ["classification", "regression"])
def test_a_server_tells_of_every_row(client: httpx.Client, root: Path, name: str) -> None:
    answer = client.post("/predict", json={"model": name, "records": RECORDS}).json()
    rows = answer["predictions"]
    assert [row["unknown"] for row in rows] == UNKNOWN
    expected = mcdrop.load(root / name).predict(RECORDS)
    assert [row["novelty"] for row in rows] == pytest.approx(expected.novelty.tolist())
    if name == "classification":
        assert [row["abstain"] for row in rows] == expected.abstain.tolist()
    few = {"model": name, "records": RECORDS[-1:], "fields": ["unknown"]}
    (row,) = client.post("/predict", json=few).json()["predictions"]
    assert row == {"unknown": UNKNOWN[-1]}
    events = client.post("/predict/stream", json=few).text.split("\n\n")
    told = [json.loads(e.partition("data: ")[2]) for e in events if "predictions" in e]
    assert all(step["predictions"] == [row] for step in told)
    assert told


def test_a_client_has_the_very_answer(client: httpx.Client, root: Path) -> None:
    with mcdrop.Client(str(client.base_url), model="classification") as remote:
        found = remote.predict(RECORDS)
    wanted = mcdrop.load(root / "classification").predict(RECORDS)
    np.testing.assert_array_equal(found.unknown, wanted.unknown)


def test_the_inference_protocol_has_a_tensor_of_it(client: httpx.Client) -> None:
    about = client.get("/v2/models/classification").json()
    columns = [tensor["name"] for tensor in about["inputs"]]
    (tensor,) = [tensor for tensor in about["outputs"] if tensor["name"] == "unknown"]
    assert (tensor["datatype"], tensor["shape"]) == ("BOOL", [-1, len(columns)])
    values = {"size": 1.0, "age": 30.0, "color": "mauve", "town": "Rome"}
    inputs = [
        {
            "name": name,
            "shape": [1, 1],
            "datatype": "BYTES" if isinstance(value, str) else "FP64",
            "data": [value],
        }
        for name, value in values.items()
    ]
    body = {"inputs": inputs, "outputs": [{"name": "unknown"}, {"name": "novelty"}]}
    answer = client.post("/v2/models/classification/infer", json=body).json()
    flags, novelty = answer["outputs"]
    assert flags["shape"] == [1, len(columns)]
    assert [n for n, flag in zip(columns, flags["data"], strict=True) if flag] == ["color"]
    assert novelty["data"] == [1]


def test_asks_answered_together_keep_their_own(root: Path) -> None:
    predictor = mcdrop.load(root / "classification")
    (job,) = validate([Ask(RECORDS)], predictor)
    assert job.unknown is not None
    assert names(Inputs(job.x, job.unknown), predictor.card.preprocessing.columns) == UNKNOWN


def test_scoring_in_the_terminal_counts_the_rows(root: Path, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([*RECORDS[:1], *RECORDS]), tmp_path / "rows.parquet")
    command = ["score", str(tmp_path / "rows.parquet"), "-o", str(tmp_path / "out.csv")]
    models = ["--repository", str(root), "--model", "regression", "--samples", "4"]
    result = CliRunner().invoke(cli.app, [*command, *models])
    assert f"{sum(map(bool, UNKNOWN))} rows hold what training never met" in result.output


def test_the_terminal_says_so(root: Path) -> None:
    command = ["predict", json.dumps(RECORDS[-3]), "--repository", str(root)]
    result = CliRunner().invoke(cli.app, [*command, "--model", "classification"])
    assert result.exit_code == 0
    assert "size, color" in result.output
    assert "training never met" in result.output
