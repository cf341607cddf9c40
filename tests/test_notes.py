"""What the user hears of a table of training rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mcdrop import cli
from mcdrop.data.fitting import fit_table
from mcdrop.data.notes import RARE, table_notes, target_notes
from mcdrop.errors import DataError

MOSTLY = ["1.5", "2", "-3e2", "4", "5", "?", None, "12,5", "?"]


def notes(values: Sequence[str | None], known: tuple[str, ...] = ()) -> tuple[str, ...]:
    return table_notes(pa.table({"area": values, "size": range(len(values))}), known)


def test_texts_among_numbers_are_told_with_an_example_and_a_remedy() -> None:
    (note,) = notes(MOSTLY)
    for words in ("'area'", "5 of its values", "3 are not", "as '?'", "empty", "`categorical`"):
        assert words in note


@pytest.mark.parametrize(
    "values",
    [
        ["red", "blue", "7"],
        ["1", "2", "x", "y"],
        ["007", "008", None],
        ["true", "false"],
        ["nan", "inf", "n/a"],
        ["25-34", "35-44", "65+"],
        ["$5", "cheap", "dear"],
        ["a b", "ab", "b"],
        [None, None],
    ],
)
def test_columns_of_labels_are_left_alone(values: list[str | None]) -> None:
    assert notes([*values] * RARE) == ()


@pytest.mark.parametrize(
    "values",
    [
        ["$1,234.50", "$7", "N/A"],
        ["3%", "40 %"],
        ["1.234,5", "-0,5"],
        ["1 234", "(12)", "5"],
        ["12€", "£3"],
        ["2021-05-20", "2021-05-21T10:00:00", ""],
        ["20.5.2021", "3/4/21"],
    ],
)
def test_quantities_and_dates_that_are_texts_are_told(values: list[str]) -> None:
    (note,) = notes([*values] * RARE)
    assert f"as {values[0]!r}" in note
    assert "make plain numbers" in note


def test_labels_too_rare_to_be_learned_are_told() -> None:
    customers = [f"C{i}" for i in range(20)]
    (note,) = notes([*customers, *["guest"] * 19])
    assert "21 labels, and 20 of 39 rows" in note
    assert notes([*customers, *["guest"] * 20]) == ()


@pytest.mark.parametrize("other", ["yes", "YES ", " Yes"])
def test_labels_that_a_person_takes_for_one_are_told(other: str) -> None:
    column = pa.chunked_array([["Yes", "no", other] * RARE])
    for (note,) in (notes(column.to_pylist()), target_notes(column, "y")):
        assert f"case or spaces: 'Yes', {other!r}" in note


def test_numbers_of_the_rows_are_told(rng: np.random.Generator) -> None:
    places = rng.permutation(1000)[:300] + 10**6

    def told(values: Any) -> bool:
        return any("number the rows" in note for note in table_notes(pa.table({"id": values}), ()))

    assert told(places)
    assert told(places.astype(float))
    assert not told(places[:100])
    assert not told(places / 2)
    assert not told(places // 2)
    assert not told(places**2)
    assert not told(np.where(places % 9, places, np.nan))
    assert not told(np.full(300, np.inf))


def test_numbers_of_many_values_are_hardly_classes() -> None:
    many = pa.chunked_array([[i % 30 for i in range(900)]])
    (note,) = target_notes(many, "price")
    assert "'price' is learned as 30 classes" in note
    assert "regression" in note
    assert target_notes(pa.chunked_array([[i % 10 for i in range(900)]]), "digit") == ()
    assert target_notes(many.cast(pa.string()), "name") == ()


def test_what_the_recipe_names_is_left_alone() -> None:
    assert notes(MOSTLY, ("area",)) == ()


def test_a_column_with_no_common_label_is_refused_for_what_strays_into_it() -> None:
    values = [*(f"{i}.5" for i in range(50)), "n/a"]
    with pytest.raises(DataError, match=r"'area' is one of labels: 50 .* as 'n/a'"):
        fit_table(pa.table({"area": values}))


def test_training_tells(tmp_path: Path) -> None:
    rows = (f"{i % 5 if i % 20 else '?'},{i},{'ab'[i % 2]}" for i in range(300))
    (tmp_path / "t.csv").write_text("\n".join(["area,size,y", *rows]))
    (tmp_path / "t.toml").write_text(
        '[data]\nsource = "table"\ntrain = "t.csv"\ntarget = "y"\n[network]\nhidden = [4]\n'
        "[training]\nepochs = 1\n"
    )
    command = ["train", str(tmp_path / "t.toml"), "--repository", str(tmp_path / "models")]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0
    told = "column 'area' is one of labels: 285 of its values are numbers, but 15 are not, as '?'"
    assert told in result.output
    assert told[1:] in (tmp_path / "models/t/1/CARD.md").read_text()
