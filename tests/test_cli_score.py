"""`mcdrop score`: its options, and what it says in the end."""

from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mcdrop import cli
from mcdrop.errors import DataError
from tests.models import random_pixels, save_random_classifier, save_random_regressor


def invoke(*arguments: object, stdin: bytes | None = None) -> str:
    result = CliRunner().invoke(cli.app, ["score", *map(str, arguments)], input=stdin)
    if result.exception:
        raise result.exception
    return result.output


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    x = random_pixels(50)
    x[7, 3] = np.nan
    np.savez(tmp_path / "x.npz", x=x, id=np.arange(50) * 2)
    return tmp_path / "x.npz"


def test_what_was_done_is_said_in_the_end(tmp_path: Path, rows: Path) -> None:
    save_random_classifier(tmp_path / "models")
    out = tmp_path / "o.parquet"
    options = ("--repository", tmp_path / "models", "-o", out)
    with pytest.raises(DataError, match=r"x\.npz, row 7 .*--on-error skip"):
        invoke(rows, *options)
    text = invoke(rows, *options, "--on-error", "skip", "--keep", "id", "--keep", "_row")
    side = tmp_path / "o.rejected.jsonl"
    assert f"50 rows in = 49 answered + 1 rejected ({side})" in text.replace("\n", "")
    for words in ("50 rows by tiny version 1", "mean confidence", "abstain", "Kolmogorov-Smirnov"):
        assert words in text
    bars = [line for line in text.splitlines() if "█" in line]
    assert sum(int(line.split()[-1]) for line in bars) == 49
    assert text.strip().endswith(str(out))
    table = pq.read_table(out)
    assert table.column_names[:3] == ["id", "_row", "prediction"]
    assert table["id"].to_pylist() == [2 * i for i in range(50) if i != 7]
    assert side.read_text().count("\n") == 1


def test_why_every_row_abstains_is_said(tmp_path: Path, rows: Path) -> None:
    save_random_classifier(tmp_path / "models")
    options = ("-o", tmp_path / "o.csv", "--repository", tmp_path / "models", "--on-error", "skip")
    said = "every row abstains: 50 calibration rows prove no error rate within 0.001"
    text = " ".join(invoke(rows, *options, "--samples", 5, "--risk", 0.001).split())
    assert said in text
    assert "abstain 1.000" in text
    assert "prove" not in invoke(rows, *options, "--samples", 5, "--risk", 0.9)


def test_the_strangest_rows_are_chosen(tmp_path: Path, rows: Path) -> None:
    save_random_regressor(tmp_path / "models")
    out = tmp_path / "o.csv"
    text = invoke(
        rows, "-o", out, "--repository", tmp_path / "models", "--samples", 5,
        "--on-error", "skip", "--top", 10, "--by", "std", "--level", 0.5,
    )  # fmt: skip
    assert "10 of them written" in text
    assert "agree" not in text
    found = pa_csv.read_csv(out)["std"].to_numpy()
    assert len(found) == 10
    assert (np.diff(found) <= 0).all()


def test_standard_input_becomes_a_folder(tmp_path: Path) -> None:
    save_random_classifier(tmp_path / "models")
    lines = "".join(f"{row.tolist()}\n" for row in random_pixels(5))
    out = tmp_path / "answers"
    invoke(
        "-", "-o", out, "--repository", tmp_path / "models", "--samples", 2, "--format", "jsonl",
        stdin=lines.encode(),
    )  # fmt: skip
    assert (out / "part-00000.jsonl").read_text().count("\n") == 5
