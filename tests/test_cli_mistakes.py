"""What the command line says to what was meant otherwise."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcdrop import cli
from mcdrop.data.preprocessing import CategoricalColumn, NumericColumn, TablePreprocessing
from mcdrop.data.sources import load_dataset
from mcdrop.errors import DataError, InputError, RecipeError
from mcdrop.recipe import Recipe
from tests.models import random_pixels, save_random_classifier

RECIPE = '[data]\nsource = "table"\ntrain = "t.csv"\ntarget = "y"\n[network]\nhidden = [4]\n'
ROWS = [f"{i % 7},{i},{'ab'[i % 2]}" for i in range(80)]


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def write(folder: Path, *lines: str) -> Path:
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "t.toml").write_text(RECIPE + "[training]\nepochs = 1\n")
    return folder / "t.toml"


def load(folder: Path, *lines: str) -> None:
    write(folder, *lines)
    data = {"source": "table", "train": "t.csv", "target": "y"}
    load_dataset(Recipe.model_validate({"data": data}), folder)


def test_rows_are_no_recipe(tmp_path: Path) -> None:
    write(tmp_path, "a,b,y", *ROWS)
    with pytest.raises(RecipeError, match=r't\.csv holds rows.*t\.toml.*train = "t\.csv"'):
        invoke("train", tmp_path / "t.csv", "--repository", tmp_path / "models")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([*ROWS[:9], "1,2", *ROWS], r"line 11 has 2 fields, wanted 3 .*'1, 2'"),
        (['"one\nand two",1,a', *ROWS[:3], "1,2,3,b"], "line 7 has 4 fields, wanted 3"),
    ],
)
def test_a_ragged_row_is_named_by_its_line(tmp_path: Path, rows: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(tmp_path, "a,b,y", *rows)


def test_a_file_without_header_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no target column 'y'.*give a header line"):
        load(tmp_path, *ROWS[9:])
    with pytest.raises(DataError, match=r"column '0' more than once.*give a header line"):
        load(tmp_path, *ROWS)
    with pytest.raises(DataError, match=r"no target column 'y': it has 'a', 'b'$"):
        load(tmp_path, "a,b", *(row.rpartition(",")[0] for row in ROWS))


def test_a_finished_training_is_not_resumed(tmp_path: Path) -> None:
    recipe = write(tmp_path, "a,b,y", *ROWS)
    command = ("train", recipe, "--repository", tmp_path / "models", "--resume")
    assert "nothing to go on from" in invoke(*command)
    again = invoke(*command)
    assert "t version 1 is finished" in again
    assert "epoch" not in again
    assert again.strip().endswith(str(tmp_path / "models/t/1"))
    recipe.write_text(RECIPE + "[training]\nepochs = 2\n")
    assert invoke(*command).strip().endswith("2")  # another recipe is another training
    assert invoke(*command[:-1]).strip().endswith("3")


SIZE = NumericColumn(name="size", mean=2.5, std=1, missing=False)
COLOR = CategoricalColumn(name="color", categories=("red",), unknown=False, missing=False)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("[1, 2", "not JSON .*got '.1, 2', wanted .64 numbers from 0 to 16"),
        ("[1, 2]", "got 2 numbers, wanted 64: .64 numbers from 0 to 16"),
        ("[[1, 2], [3]]", "got 3 numbers, wanted 64"),
        ('{"size": 1}', "wanted .64 numbers"),
        ("7", "got '7', wanted .64 numbers"),
    ],
)
def test_a_row_that_is_none_is_told_what_was_wanted(tmp_path: Path, row: str, says: str) -> None:
    save_random_classifier(tmp_path)
    with pytest.raises(InputError, match=says):
        invoke("predict", row, "--repository", tmp_path)


def test_a_row_of_a_table_is_told_by_an_example(tmp_path: Path) -> None:
    step = TablePreprocessing(numeric=(SIZE,), categorical=(COLOR,))
    save_random_classifier(tmp_path, fields={"preprocessing": step})
    for row in ("[1, 2]", "red", '"red"', '{"size": '):
        with pytest.raises(InputError, match=r'a row such as {"size": 2.5, "color": "red"}'):
            invoke("predict", row, "--repository", tmp_path)


def test_pictures_may_come_nested(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    row = random_pixels(1)[0]
    told = {
        invoke("predict", json.dumps(one.tolist()), "--json", "--repository", tmp_path)
        for one in (row, row.reshape(8, 8))
    }
    assert len(told) == 1


def test_a_file_is_no_row_but_can_be_scored(tmp_path: Path) -> None:
    save_random_classifier(tmp_path / "models", "a")
    (tmp_path / "digit.png").write_bytes(b"\x89PNG")
    picture = tmp_path / "digit.png"
    with pytest.raises(InputError, match=r"is a file, wanted one row: `mcdrop score .*digit\.png"):
        invoke("predict", picture, "--repository", tmp_path / "models")
    with pytest.raises(InputError, match="not JSON"):
        invoke("predict", "x" * 5000, "--repository", tmp_path / "models")


def test_a_quantity_that_never_varies_is_nothing_to_learn(tmp_path: Path) -> None:
    recipe = write(tmp_path, "a,b,y", *[f"{i},{i % 3},7.5" for i in range(80)])
    recipe.write_text('task = "regression"\n' + recipe.read_text())
    with pytest.raises(DataError, match=r"target 'y' is 7\.5 in all rows"):
        invoke("train", recipe, "--repository", tmp_path / "models")
