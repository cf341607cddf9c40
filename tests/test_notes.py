"""What the user hears of a table of training rows."""

from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mcdrop import cli
from mcdrop.data.fitting import fit_table
from mcdrop.data.notes import stray_texts
from mcdrop.errors import DataError

MOSTLY = ["1.5", "2", "-3e2", "4", "5", "?", None, "12,5", "?"]


def notes(values: list[str | None], known: tuple[str, ...] = ()) -> tuple[str, ...]:
    return stray_texts(pa.table({"area": values, "size": range(len(values))}), known)


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
        [None, None],
    ],
)
def test_columns_of_labels_are_left_alone(values: list[str | None]) -> None:
    assert notes(values) == ()


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
