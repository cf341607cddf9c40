"""The documentation builds without a warning, loads nothing from elsewhere, does what it says."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

import mcdrop
from mcdrop.recipe import Recipe, load_recipe
from mcdrop.search.toml import to_toml
from tests.conftest import ROOT
from tests.documents import blocks, load_document, run
from tests.serving import serving

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
PAGES = sorted(DOCS.glob("*.md"))
FEEDBACK = shutil.ignore_patterns("feedback.db*")  # the running server's
EPOCHS = 4  # of the shipped recipes, where a page trains them


class World(NamedTuple):
    """What a reader has at hand: a folder, and a running server of the same models."""

    folder: Path
    address: str


@pytest.fixture(scope="module")
def world(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Short forms of the shipped recipes, digits and houses trained, rows to ask about."""
    folder = tmp_path_factory.mktemp("docs")
    for path in (ROOT / "models").glob("*/recipe.toml"):
        recipe = load_recipe(path)
        short = recipe.training.model_copy(update={"epochs": EPOCHS})
        place = folder / "models" / path.parent.name / "recipe.toml"
        place.parent.mkdir(parents=True)
        place.write_text(to_toml(recipe.model_copy(update={"training": short})), encoding="utf-8")
    shutil.copytree(digits_model, folder / "models" / "digits" / "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks(DOCS / "quickstart.md"):
            if block.title:
                run(block, {})
    pixels = load_digits().data[:50]
    np.savez(folder / "rows.npz", x=pixels)
    pq.write_table(pa.table({"x": pixels.tolist()}), folder / "rows.parquet")
    mcdrop.train(load_recipe(folder / "houses.toml"), "houses", folder / "models", base=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCDROP_FEEDBACK", str(folder / "feedback.db"))
        with serving(folder / "models") as url:
            yield World(folder, url.removeprefix("http://"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, check=False, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(
    page: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world.folder, tmp_path, ignore=FEEDBACK, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        run(block, names, world.address)


def test_few_blocks_are_left_out() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.kind in {"sh", "python"}]
    left_out = sum(block.skipped for block in found)
    assert len(found) > 20
    assert left_out <= len(found) / 4


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in PAGES:
        name = "" if page.name == "index.md" else page.stem
        assert (site / name / "index.html").is_file(), page.name


def test_pages_need_no_network(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(?:https?:)?//[^>]*>"
        r"|<link[^>]*rel=\"?(?:stylesheet|preconnect|preload)[^>]*\"?https?://[^>]*>"
    )
    for page in site.rglob("*.html"):
        assert not loads.findall(page.read_text(encoding="utf-8")), page


def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    text = (site / "method" / "index.html").read_text(encoding="utf-8")
    assert text.count("<math") > 10
    assert "arithmatex" not in text


def test_no_marker_is_left(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "{{ " not in page.read_text(encoding="utf-8"), page


def test_the_command_line_is_described_whole(site: Path) -> None:
    from mcdrop.cli import app

    text = (site / "cli" / "index.html").read_text(encoding="utf-8")
    for command in app.registered_commands:
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        assert f"mcdrop {name}" in text


def test_every_field_of_a_recipe_is_described(site: Path) -> None:
    text = (site / "recipe" / "index.html").read_text(encoding="utf-8")
    for name, field in Recipe.model_fields.items():
        tables = getattr(field.annotation, "model_fields", {name: field})
        for inner in tables:
            assert f"<code>{inner}</code>" in text, inner


@pytest.mark.parametrize("query", ["many | nothing", "many | x | batch = 3", "nothing"])
def test_a_number_that_is_not_there_stops_the_build(query: str) -> None:
    with pytest.raises((ValueError, OSError)):
        load_document("hooks/results").render(query)


def test_one_row_and_one_column_make_a_number() -> None:
    (row,) = [
        r for r in json.loads((RESULTS / "many.json").read_text())["rows"] if r["batch"] == 16
    ]
    assert load_document("hooks/results").render("many | x | batch = 16") == f"{row['x']:.3g}"
