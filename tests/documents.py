"""The fenced blocks of a Markdown page, how each kind is run, and the hooks that write pages.

A block after ``<!-- not run: why -->`` is not run; its commands and settings are checked all the
same. ``title="name"`` saves a block as a file. `mcdrop serve` stands for the server that the test
has started: it is parsed only.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import typer.main
from typer.testing import CliRunner

from mcdrop.cli import app
from mcdrop.recipe import Recipe
from mcdrop_service.settings import Settings
from tests.conftest import ROOT

ADDRESS = "127.0.0.1:8000"  # what pages call the server

_FENCE = re.compile(
    r"^(?P<skip> *<!-- not run: [^\n]+ -->\n)?(?P<indent> *)```(?P<kind>\w+)"
    r'(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^(?P=indent)```$',
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    kind: str
    text: str
    title: str | None
    skipped: bool


def blocks(page: Path) -> list[Block]:
    """Every fenced block of ``page`` that names its language, in order."""
    found = []
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        indent = len(match["indent"])
        text = "\n".join(line[indent:] for line in match["text"].splitlines()) + "\n"
        found.append(Block(match["kind"], text, match["title"], bool(match["skip"])))
    return found


def load_document(name: str) -> Any:
    """The module ``docs/NAME.py``, which belongs to no package."""
    spec = importlib.util.spec_from_file_location(Path(name).name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(block: Block, names: dict[str, object], address: str = ADDRESS) -> None:
    """Do in the current folder what ``block`` says; fail as it fails."""
    text = block.text.replace(ADDRESS, address)
    if block.title:
        Path(block.title).write_text(text, encoding="utf-8")
    if block.kind == "toml":
        check_settings(text)
    elif block.kind == "json":
        orjson.loads(text)
    elif block.kind == "python":
        code = compile(text, block.title or "page", "exec")
        if not block.skipped:
            exec(code, names)
    elif block.kind == "sh":
        for command in commands(text):
            _run_command(command, skipped=block.skipped)


def commands(text: str) -> Iterator[str]:
    """The commands of a shell block: lines, joined where a quote or a backslash says so."""
    pending = ""
    for line in text.splitlines():
        pending += line
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            pending += "\n"
            continue
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        if shlex.split(pending, comments=True):
            yield pending
        pending = ""
    assert not pending, f"an unfinished command: {pending}"


def _run_command(command: str, *, skipped: bool) -> None:
    words = shlex.split(command, comments=True)
    simple = not set(words) & {"|", "&&", "||", ";", "<", ">", ">>", "&"}
    if words[0] == "mcdrop" and simple:
        check_arguments(words[1:])
        if not skipped and words[1] != "serve":
            result = CliRunner().invoke(app, words[1:])
            said = f"{command}\n{result.output}{result.exception!r}"
            assert result.exit_code == 0, said
    elif not skipped:
        bin_folder = Path(sys.executable).parent
        script = f'set -euo pipefail; export PATH="{bin_folder}:$PATH"; {command}'
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, check=False, text=True, timeout=300
        )
        said = f"{command}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        assert not done.stdout.startswith('{"detail"'), said  # the server's refusal


def check_arguments(words: list[str]) -> None:
    """Parse ``mcdrop WORDS`` without running it."""
    command: Any = typer.main.get_command(app)
    name, *arguments = words
    assert name in command.commands, f"mcdrop has no command {name!r}"
    if "--help" not in arguments:
        command.commands[name].make_context(name, arguments)


def check_settings(text: str) -> None:
    """A TOML block is a recipe, or some tables of one, or settings of the server."""
    content = tomllib.loads(text)
    if set(content) & set(Recipe.model_fields):
        source = "table" if content.get("task") == "regression" else "digits"
        data = {"source": source, "train": "rows.csv"} if source == "table" else {"source": source}
        Recipe.model_validate({"data": data, **content})
    else:
        Settings(**content)
