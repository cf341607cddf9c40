"""Search: trials that share a study, a winner that can be trained, a table of all."""

import csv
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mcdrop import pipeline
from mcdrop.data.sources import load_dataset
from mcdrop.errors import InputError, TrainingError
from mcdrop.metrics import nll
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe, load_recipe
from mcdrop.search import RANGES, Range, Trial, parse_ranges, search, to_toml
from mcdrop.training import fit

FEW = {name: RANGES[name] for name in ("weight_decay", "dropout", "lr")}
ROOT = Path(__file__).parent.parent


def recipe(**training: object) -> Recipe:
    return Recipe.model_validate(
        {
            "samples": 20,
            "data": {"source": "digits"},
            "network": {"hidden": [16], "dropout": 0.1},
            "training": {"epochs": 2, "lr": 0.01, **training},
        }
    )


def table(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_winner_has_the_lowest_validation_nll_and_is_its_own_network(tmp_path: Path) -> None:
    seen: list[Trial] = []
    path = search(recipe(), tmp_path, trials=6, sampler="random", on_trial=seen.append)
    rows = table(tmp_path)
    assert [trial.finished for trial in seen] == [1, 2, 3, 4, 5, 6]
    assert len(rows) == 6
    values = [float(row["validation_nll"]) for row in rows if row["state"] == "complete"]
    assert all(later.best <= earlier.best for earlier, later in pairwise(seen))
    assert seen[-1].best == min(values)
    winner = load_recipe(path)
    best = min(
        (row for row in rows if row["validation_nll"]), key=lambda r: float(r["validation_nll"])
    )
    assert winner.training.lr == float(best["lr"])
    assert winner.network.hidden == (int(best["width"]),) * int(best["depth"])
    assert winner.network.rates[0] == float(best["dropout_1"])
    dataset = load_dataset(winner)
    network = fit(winner, dataset, device="cpu").network
    answer = Posterior(network, 20, winner.seed).predict(dataset.validation.x)
    assert nll(answer.mean, dataset.validation.y) == pytest.approx(min(values), rel=1e-4)


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    search(recipe(), tmp_path, trials=2, ranges=FEW)
    first = table(tmp_path)
    seen: list[Trial] = []
    search(recipe(), tmp_path, trials=4, ranges=FEW, on_trial=seen.append)
    assert [trial.number for trial in seen] == [2, 3]
    assert table(tmp_path)[:2] == first
    search(recipe(), tmp_path, trials=4, ranges=FEW, on_trial=seen.append)
    assert len(seen) == 2


def test_one_process_is_reproducible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        search(recipe(), tmp_path / name, trials=2, ranges=FEW)
    one, other = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in table(tmp_path / name)]
        for name in ("a", "b")
    )
    assert one == other


def test_a_grid_tries_every_combination_once(tmp_path: Path) -> None:
    ranges = {"weight_decay": Range(1e-4, 1e-2, log=True), "depth": Range(1, 2, whole=True)}
    search(recipe(epochs=1), tmp_path, trials=20, sampler="grid", ranges=ranges)
    tried = {(float(row["weight_decay"]), int(row["depth"])) for row in table(tmp_path)}
    assert len(table(tmp_path)) == 6
    assert sorted({decay for decay, _ in tried}) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert len(tried) == 6


def test_hopeless_trials_are_pruned(tmp_path: Path) -> None:
    ranges = {"lr": Range(1e-7, 1e-1, log=True)}
    search(recipe(epochs=8), tmp_path, trials=16, sampler="random", ranges=ranges)
    rows = table(tmp_path)
    pruned = [float(row["lr"]) for row in rows if row["state"] == "pruned"]
    assert pruned
    assert float(np.median(pruned)) < load_recipe(tmp_path / "recipe.toml").training.lr


@pytest.mark.slow
def test_processes_share_a_study(tmp_path: Path) -> None:
    path, out = tmp_path / "quick.toml", tmp_path / "out"
    path.write_text(to_toml(recipe()))
    command = [sys.executable, "-m", "mcdrop", "search", path, "--out", out, "--trials", "6"]
    command += ["--tune", "lr", "--tune", "weight_decay=1e-5:1e-3"]
    running = [
        subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(2)
    ]
    for process in running:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert text.strip() == str(out / "recipe.toml")
    rows = table(out)
    assert 6 <= len(rows) <= 7  # both may be in their last trial
    assert len({row["lr"] for row in rows}) == len(rows)


def test_a_search_of_a_regression_uses_the_gaussian_likelihood(tmp_path: Path) -> None:
    plan = Recipe.model_validate(
        {
            "task": "regression",
            "samples": 20,
            "data": {"source": "line"},
            "network": {"hidden": [16], "dropout": 0.05},
            "training": {"epochs": 3, "lr": 0.01},
        }
    )
    path = search(plan, tmp_path, trials=2, ranges={"lr": RANGES["lr"]})
    assert np.isfinite(float(table(tmp_path)[0]["validation_nll"]))
    pipeline.train(load_recipe(path), "line", tmp_path / "models")


def test_trials_that_diverge_are_failures_not_the_end(tmp_path: Path) -> None:
    sgd = {"optimizer": "sgd"}
    with pytest.raises(TrainingError, match="no trial"):
        search(recipe(**sgd), tmp_path, trials=2, ranges={"lr": Range(1e20, 1e30, log=True)})
    assert [row["state"] for row in table(tmp_path)] == ["fail", "fail"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "models").glob("*/recipe.toml")), ids=lambda p: p.parent.name
)
def test_recipes_survive_toml(path: Path) -> None:
    plan = load_recipe(path).model_copy(update={"sweep": {}})
    assert Recipe.model_validate(tomllib.loads(to_toml(plan))) == plan


def test_toml_keeps_strings_and_tables() -> None:
    plan = recipe(class_weights={"1": 2.0, "a b": 0.5}).model_copy(
        update={"description": 'quotes " and \\ and\nlines, ünïcode'}
    )
    assert Recipe.model_validate(tomllib.loads(to_toml(plan))) == plan


def test_ranges_from_text() -> None:
    assert parse_ranges(["lr", "width=8:64"]) == {
        "lr": RANGES["lr"],
        "width": Range(8, 64, log=True, whole=True),
    }
    for text in ("speed", "lr=1", "lr=a:b", "lr=1:2:3"):
        with pytest.raises(InputError, match="cannot tune"):
            parse_ranges([text])
    for text in ("lr=0:1", "dropout=0.5:0.1", "depth=1:inf"):
        with pytest.raises(InputError, match="range"):
            parse_ranges([text])
    with pytest.raises(InputError, match="cannot tune speed"):
        search(recipe(), Path("nowhere"), trials=1, ranges={"speed": Range(0, 1)})
