"""The command line: what it writes, what it prints, and how it fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mcdrop import cli
from tests.models import random_pixels, save_random_classifier

ROOT = Path(__file__).parent.parent


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("command", ["", "train", "serve", "score", "predict", "models"])
def test_help_describes_every_option(command: str) -> None:
    code, text = invoke(*([command] if command else []), "--help")
    assert code == 0
    assert "Usage" in text
    for name in ("train", "serve", "score", "predict", "models") if not command else ():
        assert name in text


def test_training_twice_writes_two_versions(tmp_path: Path) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text('[data]\nsource = "digits"\n[training]\nepochs = 1\n')
    for version in ("1", "2"):
        code, text = invoke("train", recipe, "--repository", tmp_path / "models")
        assert code == 0
        assert text.strip().endswith(str(tmp_path / "models" / "quick" / version))
        assert "epoch   1  loss" in text
    history = (tmp_path / "models/quick/2/history.csv").read_text().splitlines()
    assert history[0].startswith("epoch,train_loss,validation_loss")
    assert len(history) == 2


def test_a_model_is_found_by_name_in_the_repository_or_the_package(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "recipe.toml"
    own.parent.mkdir()
    own.write_text('[data]\nsource = "digits"\n')
    assert cli._find_recipe("mine", tmp_path) == (own, "mine")
    assert cli._find_recipe(str(own.parent), tmp_path) == (own, "mine")
    assert cli._find_recipe(str(own), tmp_path) == (own, "mine")
    assert cli._find_recipe("absent", tmp_path)[0] == tmp_path / "absent" / "recipe.toml"
    shipped, name = cli._find_recipe("digits", tmp_path)
    assert shipped.is_file()
    assert name == "digits"


def test_models_lists_versions_or_says_what_to_do(tmp_path: Path) -> None:
    assert "try `mcdrop train digits`" in invoke("models", "--repository", tmp_path)[1]
    save_random_classifier(tmp_path)
    save_random_classifier(tmp_path)
    text = invoke("models", "--repository", tmp_path)[1]
    assert text.count("tiny ") == 2
    assert "accuracy" in text
    assert "0.1000" in text


def test_predict_answers_for_one_row(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    row = json.dumps(random_pixels(1)[0].tolist())
    code, text = invoke("predict", row, "--repository", tmp_path, "--samples", 20)
    assert code == 0
    for word in ("tiny version 1, 20 passes, seed 0", "confidence", "epistemic", "aleatoric"):
        assert word in text


def test_score_writes_a_row_per_row(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    np.savez(tmp_path / "x.npz", x=random_pixels(7))
    out = tmp_path / "scores.parquet"
    code, _ = invoke("score", tmp_path / "x.npz", "-o", out, "--repository", tmp_path)
    assert code == 0
    table = pq.read_table(out)
    assert table.num_rows == 7
    assert str(table.schema.field("confidence").type) == "double"


def mcdrop(*arguments: object, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mcdrop", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_known_errors_are_one_line_and_exit_code_1(tmp_path: Path) -> None:
    process = mcdrop("score", tmp_path / "no.npz", "-o", "x.csv", "--repository", tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("error: no trained model")
    assert "Traceback" not in out + err


def test_interrupted_training_leaves_nothing(tmp_path: Path) -> None:
    recipe = tmp_path / "long.toml"
    recipe.write_text('[data]\nsource = "digits"\n[training]\nepochs = 100000\npatience = 100000\n')
    process = mcdrop("train", recipe, "--repository", tmp_path / "models")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; nothing was written" in err
    assert not list((tmp_path / "models").rglob("*"))


def test_help_of_the_installed_command() -> None:
    out, _ = mcdrop("--help").communicate(timeout=60)
    assert "says how far it can be" in " ".join(out.split())
