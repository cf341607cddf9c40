"""Answers over HTTP are the library's to the bit."""

from pathlib import Path

import httpx
import numpy as np

import mcdrop
from tests.service.asking import PIXELS, ask, columns


def test_classification_answers_are_the_library_s_to_the_bit(
    client: httpx.Client, root: Path
) -> None:
    body = {"inputs": PIXELS, "model": "tiny", "version": 1, "samples": 57, "seed": 2**63 - 1}
    answer = ask(client, **body).json()
    expected = mcdrop.load(root / "tiny" / "1").predict(PIXELS, samples=57, seed=2**63 - 1)
    assert {k: answer[k] for k in ("model", "version", "samples", "seed", "task")} == {
        "model": "tiny",
        "version": 1,
        "samples": 57,
        "seed": 2**63 - 1,
        "task": "classification",
    }
    assert answer["classes"] == list("0123456789")
    rows = answer["predictions"]
    for name in ("confidence", "total", "aleatoric", "epistemic", "agrees", "novelty", "abstain"):
        assert columns(rows, name) == getattr(expected, name).tolist(), name
    sets = [[str(c) for c in np.flatnonzero(row)] for row in expected.prediction_set]
    assert columns(rows, "prediction_set") == sets
    assert (answer["level"], answer["risk"]) == (0.9, 0.05)
    for name in ("probabilities", "std", "mc_error"):
        assert columns(rows, name) == getattr(expected, name).tolist(), name
        assert list(rows[0][name]) == answer["classes"]
    for name in ("total", "aleatoric", "epistemic"):
        assert columns(rows, "variance", name) == getattr(expected, f"{name}_variance").tolist()
    assert columns(rows, "prediction") == [str(i) for i in expected.prediction]
    fixed = expected.deterministic
    assert columns(rows, "deterministic", "prediction") == [str(i) for i in fixed.prediction]
    assert columns(rows, "deterministic", "probabilities") == fixed.probabilities.tolist()


def test_regression_answers_are_the_library_s_to_the_bit(client: httpx.Client, root: Path) -> None:
    inputs = [[1.1, 2.2], [3.3, 1e5]]
    answer = ask(client, inputs=inputs, model="sizes").json()
    expected = mcdrop.load(root / "sizes").predict(inputs)
    rows = answer["predictions"]
    assert (answer["samples"], answer["seed"], answer["targets"]) == (30, 0, ["mass", "price"])
    for name in ("mean", "std", "confidence", "total", "aleatoric", "epistemic", "mc_error"):
        assert columns(rows, name) == getattr(expected, name).tolist(), name
    lower, upper = expected.lower, expected.upper
    ends = [[[e["lower"], e["upper"]] for e in row] for row in columns(rows, "interval")]
    assert columns(rows, "novelty") == expected.novelty.tolist()
    assert ends == np.stack([lower, upper], axis=-1).tolist()
    assert columns(rows, "deterministic", "mean") == expected.deterministic.mean.tolist()


def test_level_and_risk_are_the_callers(client: httpx.Client, root: Path) -> None:
    body = {"inputs": PIXELS, "model": "tiny", "version": 1}
    strict = ask(client, **body, level=0.97, risk=0.3).json()
    expected = mcdrop.load(root / "tiny" / "1").predict(PIXELS, level=0.97, risk=0.3)
    assert (strict["level"], strict["risk"]) == (0.97, 0.3)
    assert columns(strict["predictions"], "abstain") == expected.abstain.tolist()
    sizes = [len(row) for row in columns(strict["predictions"], "prediction_set")]
    assert sizes == expected.prediction_set.sum(1).tolist()
    for field, value in (("level", 1), ("level", 0.0), ("risk", "low"), ("risk", -1.0)):
        refused = ask(client, **body, **{field: value})
        assert refused.status_code == 422
        assert field in refused.json()["detail"]
    regression = ask(client, inputs=[[1.0, 2.0]], model="sizes", risk=0.1)
    assert regression.status_code == 422
    # 50 calibration rows prove no interval at .99: there is none, rather than a wrong one.
    wide = ask(client, inputs=[[1.0, 2.0]], model="sizes", level=0.99).json()
    assert wide["predictions"][0]["interval"] == {"mass": None, "price": None}


def test_records_may_lack_values_and_have_unknown_ones(client: httpx.Client, root: Path) -> None:
    records = [{"age": 30, "job": "smith"}, {"job": None}, {"age": 1e9, "job": "astronaut"}, {}]
    rows = ask(client, records=records, model="people").json()["predictions"]
    expected = mcdrop.load(root / "people").predict(records)
    assert columns(rows, "probabilities") == expected.probabilities.tolist()
    assert {row["prediction"] for row in rows} <= {"no", "yes"}


def test_rows_may_be_nested_and_numeric_tables_may_be_records(client: httpx.Client) -> None:
    nested = np.reshape(PIXELS, (3, 8, 8)).tolist()
    flat = ask(client, inputs=PIXELS, model="tiny").json()
    assert ask(client, inputs=nested, model="tiny").json() == flat
    rows = ask(client, inputs=[[2.5, 3.5]], model="sizes").json()
    records = [{"height": 3.5, "width": 2.5}]
    assert ask(client, records=records, model="sizes").json() == rows
