"""Comparisons: the experiment on weight decay, the files written, and the figure."""

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mcdrop.cli import app
from mcdrop.compare import Trained, compare, plans, table, write
from mcdrop.errors import InputError
from mcdrop.recipe import Recipe, load_recipe

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="module")
def linear_decay() -> list[Trained]:
    recipe = load_recipe(MODELS / "linear-decay/recipe.toml")
    return [compare(plan) for plan in plans([("linear-decay", recipe, Path())])]


def test_weight_decay_holds_the_norm_and_the_test_loss_down(linear_decay: list[Trained]) -> None:
    rows = {one.row["setting"]: one.row for one in linear_decay}
    for batch in (1, 5):
        plain = rows[f"weight_decay=0, batch_size={batch}"]
        decayed = rows[f"weight_decay=3, batch_size={batch}"]
        assert 12 < plain["weight_norm"] < 14
        assert plain["train_loss"] < 1e-6
        assert plain["test_loss"] > 100
        assert decayed["test_loss"] < 0.01 * plain["test_loss"]
        # A step shrinks w by 1 - lr lambda = 0.991: 400 steps leave .027 of it, 2000 nothing.
        assert decayed["weight_norm"] < (0.1 if batch == 1 else 0.5)


def test_three_files(linear_decay: list[Trained], tmp_path: Path) -> None:
    write(linear_decay, tmp_path / "out")
    rows = json.loads((tmp_path / "out/compare.json").read_text())
    assert len(rows) == 4
    wanted = {"name", "setting", "weight_norm", "train_loss", "test_loss", "rmse", "nll"}
    assert all(wanted <= set(row) for row in rows)
    lines = (tmp_path / "out/compare.md").read_text().splitlines()
    assert lines[0].startswith("| name | setting |")
    assert len(lines) == 6
    png = (tmp_path / "out/compare.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert (png[:4], width, height) == (b"\x89PNG", 1200, 800)


def test_without_matplotlib_the_numbers_are_written_and_the_remedy_is_said(
    linear_decay: list[Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'mcdrop\[plots\]'"):
        write(linear_decay, tmp_path)
    assert (tmp_path / "compare.json").is_file()


def test_what_is_not_finite_is_null_in_json(
    linear_decay: list[Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcdrop.compare._draw", lambda *_: None)
    one = linear_decay[0]
    write([replace(one, row={**one.row, "nll": float("nan"), "rmse": float("inf")})], tmp_path)
    text = (tmp_path / "compare.json").read_text()
    (row,) = json.loads(text, parse_constant=pytest.fail)
    assert row["nll"] is row["rmse"] is None


def test_l1_finds_the_features_that_matter() -> None:
    recipe = load_recipe(MODELS / "line-sparse/recipe.toml")
    (one,) = (compare(p) for p in plans([("s", recipe.model_copy(update={"sweep": {}}), Path())]))
    weights = one.fitted.network[0].weight[0].numpy()
    assert np.count_nonzero(weights[:5]) == 5
    assert np.count_nonzero(weights[5:]) < 5
    assert one.row["zeros"] == np.mean(weights == 0)


def test_the_command_trains_each_setting_and_draws_the_band(tmp_path: Path) -> None:
    text = (MODELS / "curve-decay/recipe.toml").read_text()
    (tmp_path / "curve.toml").write_text(text.replace("epochs = 2000", "epochs = 20"))
    out = tmp_path / "out"
    arguments = ["compare", str(tmp_path / "curve.toml"), "--out", str(out), "--tensorboard"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "| curve | weight_decay=0.01, dropout=0.5 | 20 |" in result.output
    png = (out / "compare.png").read_bytes()
    assert struct.unpack(">II", png[16:24]) == (1200, 1200)  # a row more: the fitted curves
    assert len(list((out / "tensorboard").glob("*/*/events*"))) == 4


def test_tables_of_different_tasks_have_all_columns() -> None:
    text = table([{"name": "a", "nll": 0.123456}, {"name": "b", "ece": 1.0}])
    assert text.splitlines() == [
        "| name | nll | ece |", "| --- | --- | --- |", "| a | 0.1235 |  |", "| b |  | 1 |"
    ]  # fmt: skip


def test_a_sweep_is_one_plan_a_setting() -> None:
    recipe = Recipe.model_validate({"data": {"source": "digits"}, "sweep": {"seed": [1, 2]}})
    found = plans([("a", recipe, Path()), ("b", recipe.model_copy(update={"sweep": {}}), Path())])
    assert [plan.label for plan in found] == ["a: seed=1", "a: seed=2", "b"]
