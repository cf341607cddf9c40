"""The README's Python runs as it stands, its commands are commands, its figures those measured."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mcdrop
from mcdrop.cli import app
from mcdrop.recipe import load_recipe
from tests.documents import load_document

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_python_blocks_run_in_order(
    digits_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(digits_model.parent.parent.parent)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "[0 1 2 3 4] [0 1 2 3 4]" in printed
    assert "(5, 10) (5, 10)" in printed


def test_the_recipe_and_the_request_are_valid(digits_model: Path, tmp_path: Path) -> None:
    (recipe,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "houses.toml").write_text(recipe)
    assert load_recipe(tmp_path / "houses.toml").task == "regression"
    digit, _ = (json.loads(body) for body in re.findall(r"-d '(.*?)'\n```", README, re.DOTALL))
    assert mcdrop.load(digits_model).predict(digit["inputs"]).prediction.tolist() == [0]


def test_named_commands_exist() -> None:
    commands = set(re.findall(r"^mcdrop (\w+)", README, flags=re.MULTILINE))
    assert commands >= {"train", "models", "score", "serve"}
    for command in commands:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_named_files_exist() -> None:
    root = Path(__file__).parent.parent
    tree = README.split("## The tree")[1].split("```")[1]
    for name in re.findall(r"(\w+)\.py", tree):
        assert (root / "mcdrop" / f"{name}.py").is_file(), name
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (root / link).exists(), link


def test_figures_are_those_measured() -> None:
    assert README.count("<!-- results") >= 3
    assert load_document("readme").filled(README) == README, "`make docs` mends it"
