"""Train, serve, ask, score: real data, a real server, and one answer by every way in."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import mcdrop
from mcdrop.cli import app
from mcdrop.data.sources import raw_split
from mcdrop.repository import read_card
from tests.serving import serving


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def models(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of digits, and of people: a small mixed table, trained from a CSV."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    age, job = rng.integers(18, 90, 600), rng.choice(["smith", "miller", "clerk"], 600)
    rich = np.where((age > 45) ^ (job == "clerk"), "yes", "no")
    holes = np.where(rng.random(600) < 0.1, "", age.astype(str))
    rows = [f"{a},{j},{r}" for a, j, r in zip(holes, job, rich, strict=True)]
    (folder / "people.csv").write_text("age,job,rich\n" + "\n".join(rows) + "\n")
    (folder / "recipe.toml").write_text(
        '[data]\nsource = "table"\ntrain = "people.csv"\ntarget = "rich"\n'
        "[network]\nhidden = [16]\ndropout = 0.1\n[training]\nlr = 0.01\nbatch_size = 32\n"
    )
    run("train", folder / "recipe.toml", "--repository", folder / "models", "--name", "people")
    shutil.copytree(digits_model, folder / "models/digits/1")
    return folder / "models"


@pytest.fixture(scope="module")
def url(models: Path) -> Iterator[str]:
    with serving(models) as address:
        yield address


def test_python_http_and_scoring_agree_on_numbers(models: Path, url: str, tmp_path: Path) -> None:
    x = load_digits().data[:50]
    expected = mcdrop.load(models / "digits").predict(x, samples=64, seed=3)
    np.savez(tmp_path / "rows.npz", x=x)
    scores = tmp_path / "scores.parquet"
    where = ("--repository", models, "--model", "digits")
    run("score", tmp_path / "rows.npz", "-o", scores, *where, "--samples", 64, "--seed", 3)
    scored = pq.read_table(scores)
    body = {"inputs": x.tolist(), "model": "digits", "samples": 64, "seed": 3}
    answer = httpx.post(f"{url}/predict", json=body, timeout=60).json()
    assert (answer["model"], answer["version"]) == ("digits", 1)
    assert (answer["samples"], answer["seed"]) == (64, 3)
    # To the bit: all three evaluate the 50 rows as one block.
    for name in ("confidence", "total", "aleatoric", "epistemic"):
        values = getattr(expected, name)
        assert scored[name].to_numpy().tolist() == values.tolist()
        assert [row[name] for row in answer["predictions"]] == values.tolist()
    labels = [str(label) for label in expected.prediction]
    assert scored["prediction"].to_pylist() == labels
    assert [row["prediction"] for row in answer["predictions"]] == labels


def test_table_records_agree_with_scoring_and_python(
    models: Path, url: str, tmp_path: Path
) -> None:
    records = [
        {"age": 70, "job": "smith"},
        {"age": None, "job": "clerk"},
        {"job": "astronaut", "age": 30},
    ]
    model = mcdrop.load(models / "people")
    expected = model.predict(records, samples=50)
    table = pa.table({k: [r[k] for r in records] for k in ("job", "age")})
    pa.csv.write_csv(table, tmp_path / "rows.csv")
    where = ("--repository", models, "--model", "people")
    run("score", tmp_path / "rows.csv", "-o", tmp_path / "out.csv", *where, "--samples", 50)
    scored = pa.csv.read_csv(tmp_path / "out.csv")
    body = {"records": records, "model": "people", "samples": 50}
    answer = httpx.post(f"{url}/predict", json=body, timeout=60)
    served = [row["confidence"] for row in answer.json()["predictions"]]
    assert served == expected.confidence.tolist() == scored["confidence"].to_pylist()
    assert scored["prediction"][0].as_py() == "yes"


def test_digits_are_known_and_noise_is_not(digits_model: Path) -> None:
    x, y = raw_split("digits", "test")
    model = mcdrop.load(digits_model)
    known = model.predict(x)
    assert np.mean(known.prediction == y) > 0.95
    noise = model.predict(np.random.default_rng(0).uniform(0, 16, (100, 64)))
    assert known.confidence.mean() - noise.confidence.mean() > 0.3
    assert noise.epistemic.mean() > 3 * known.epistemic.mean()
    card = read_card(digits_model)
    assert card.metrics["served"]["accuracy"] == pytest.approx(np.mean(known.prediction == y))


@pytest.mark.data
@pytest.mark.slow
def test_fashion_mnist_recipe_reaches_its_accuracy(data_root: Path, tmp_path: Path) -> None:
    """The shipped recipe on the real set, on the CPU: at least .870, deterministic and MC."""
    repository = Path(__file__).parent.parent / "models"
    run(
        "train",
        repository / "fashion-mnist",
        "--repository",
        tmp_path,
        "--device",
        "cpu",
        "--data-root",
        data_root / "fashion-mnist",
    )
    card = read_card(tmp_path / "fashion-mnist" / "1")
    assert card.metrics["deterministic"]["accuracy"] >= 0.870
    assert card.metrics["mc"]["accuracy"] >= 0.870
    assert card.rows["test"] == 10_000


@pytest.mark.data
@pytest.mark.slow
def test_adult_recipe_beats_the_majority(data_root: Path, tmp_path: Path) -> None:
    repository = Path(__file__).parent.parent / "models"
    run("train", repository / "adult", "--repository", tmp_path, "--data-root", data_root)
    card = read_card(tmp_path / "adult" / "1")
    assert card.metrics["mc"]["accuracy"] > 0.84  # the majority class alone: .759
    assert card.metrics["mc"]["nll"] < 0.34
