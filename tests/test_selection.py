"""Selection: the rows chosen are those of greatest worth, from whatever file they come."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mcdrop
from mcdrop.batchbald import batch_bald
from mcdrop.cli import app
from mcdrop.errors import InputError
from mcdrop.selection import Criterion, select
from tests.models import random_pixels, save_random_classifier, save_random_regressor

ROWS = 2500  # more than one block


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and its pool as a table of 64 columns, pool.parquet, and as pool.npz."""
    folder = tmp_path_factory.mktemp("pool")
    save_random_classifier(folder / "models")
    x = random_pixels(ROWS)
    pq.write_table(pa.table({f"p{i}": x[:, i] for i in range(64)}), folder / "pool.parquet")
    np.savez(folder / "pool.npz", x=x)
    return folder


@pytest.mark.parametrize(
    ("by", "worth"),
    [("bald", "epistemic"), ("entropy", "total"), ("variance", "epistemic_variance")],
)
def test_rows_of_greatest_worth_are_written(
    pool: Path, tmp_path: Path, by: Criterion, worth: str
) -> None:
    model = mcdrop.load(pool / "models/tiny")
    expected = np.sort(getattr(model.predict(random_pixels(ROWS)), worth))[::-1][:30]
    assert select(model, pool / "pool.parquet", tmp_path / "top.parquet", k=30, by=by) == 30
    table = pq.read_table(tmp_path / "top.parquet")
    np.testing.assert_allclose(table["_score"].to_numpy(), expected, rtol=1e-5)
    rows = table["_row"].to_numpy()
    assert len(set(rows.tolist())) == 30
    carried = np.column_stack([table[f"p{i}"].to_numpy() for i in range(64)])
    assert np.array_equal(carried, random_pixels(ROWS)[rows])
    assert {"_file", "prediction", "confidence"} <= set(table.column_names)


def test_batchbald_chooses_among_the_best_by_bald(pool: Path, tmp_path: Path) -> None:
    model = mcdrop.load(pool / "models/tiny")
    select(model, pool / "pool.npz", tmp_path / "top.csv", k=8, by="batchbald", seed=3)
    lines = (tmp_path / "top.csv").read_text().splitlines()
    places = lines[0].replace('"', "").split(",").index("_row")
    rows = [int(line.split(",")[places]) for line in lines[1:]]
    x = model.card.preprocessing.encode(random_pixels(ROWS))
    candidates = np.argsort(-model.evaluate(x, seed=3).epistemic, kind="stable")[:1000]
    batch = batch_bald(model.sample(x[candidates], seed=3), 8, seed=3)
    assert rows == candidates[batch.rows].tolist()


def test_a_source_with_fewer_rows_is_written_whole(pool: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=random_pixels(5))
    model = mcdrop.load(pool / "models/tiny")
    for by in ("bald", "batchbald"):
        assert select(model, tmp_path / "few.npz", tmp_path / "o.csv", k=9, by=by) == 5


def test_bad_arguments_are_named(pool: Path, tmp_path: Path) -> None:
    model = mcdrop.load(pool / "models/tiny")
    with pytest.raises(InputError, match="k is 0"):
        select(model, pool / "pool.npz", tmp_path / "o.csv", k=0)
    with pytest.raises(InputError, match="give one of bald"):
        select(model, pool / "pool.npz", tmp_path / "o.csv", k=1, by="luck")  # type: ignore[arg-type]
    np.savez(tmp_path / "nan.npz", x=np.full((2, 64), np.nan))
    with pytest.raises(InputError, match="row 0"):
        select(model, tmp_path / "nan.npz", tmp_path / "o.csv", k=1)


def test_what_nothing_is_said_of_goes_by_what_the_task_knows(pool: Path, tmp_path: Path) -> None:
    save_random_regressor(tmp_path / "models")
    output = tmp_path / "o.csv"
    arguments = ["select", str(pool / "pool.npz"), "-o", str(output), "--k", "2"]
    for root, by in ((pool, "bald"), (tmp_path, "variance")):
        result = CliRunner().invoke(app, [*arguments, "--repository", str(root / "models")])
        assert f"2 rows by {by}" in result.output
        found = output.read_bytes()
        model = mcdrop.load(root / "models" / ("tiny" if by == "bald" else "value"))
        select(model, pool / "pool.npz", output, k=2, by=by)  # type: ignore[arg-type]
        assert output.read_bytes() == found


def test_the_command_says_what_it_chose(pool: Path, tmp_path: Path) -> None:
    arguments = [str(pool / "pool.npz"), "-o", str(tmp_path / "o.csv"), "--k", "7"]
    options = ["--repository", str(pool / "models"), "--by", "batchbald", "--samples", "10"]
    result = CliRunner().invoke(app, ["select", *arguments, *options])
    assert result.exit_code == 0, result.output
    assert "7 rows by batchbald, tiny version 1" in result.output
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 8
