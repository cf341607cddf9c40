"""A repository that the page shows, served, and a browser to look with."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

import mcdrop
from mcdrop.recipe import Recipe
from tests.browser import chromium, opened, wait_for_answer
from tests.models import save_random_colors
from tests.serving import serving


def train(root: Path, folder: Path, name: str, **changes: Any) -> None:
    recipe = Recipe.model_validate(
        {
            "network": {"hidden": [16], "dropout": 0.2},
            "training": {"lr": 0.01, "epochs": 5},
            **changes,
        }
    )
    mcdrop.train(recipe, name, root, base=folder)


@pytest.fixture(scope="package")
def root(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in gray and in color, a classification of mixed columns, and regressions."""
    folder = tmp_path_factory.mktemp("page")
    root = folder / "models"
    shutil.copytree(digits_model, root / "digits" / "1")
    save_random_colors(root)
    save_random_colors(root, "banners", (6, 8, 3))
    rng = np.random.default_rng(0)
    weight = rng.gamma(4, 1.5, 400).round(1)
    coat = rng.choice(["long", "short"], 400)
    kind = np.where(weight + 3 * (coat == "long") + rng.normal(size=400) > 7, "dog", "cat")
    gone = rng.random(400) < 0.1
    pets = zip(np.where(gone, "", weight.astype(str)), coat, kind, strict=True)
    lines = ["weight,coat,kind", *map(",".join, pets)]
    (folder / "pets.csv").write_text("\n".join(lines) + "\n")
    x, y = rng.uniform(-1, 1, (2, 300)).round(3)
    mass = (50_000 * (10 + 5 * x + rng.normal(size=300))).round()
    lines = [
        "x,y,mass,price",
        *(f"{a},{b},{c},{-c / 2}" for a, b, c in zip(x, y, mass, strict=True)),
    ]
    (folder / "parts.csv").write_text("\n".join(lines) + "\n")
    train(root, folder, "pets", data={"source": "table", "train": "pets.csv", "target": "kind"})
    train(
        root,
        folder,
        "parts",
        task="regression",
        data={"source": "table", "train": "parts.csv", "target": ["mass", "price"]},
    )
    for name in ("line", "linear"):
        train(root, folder, name, task="regression", data={"source": name})
    return root


@pytest.fixture(scope="package")
def url(root: Path) -> Iterator[str]:
    with serving(root) as address:
        yield f"{address}/"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def digits(browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, f"{url}#digits/1") as page:
        wait_for_answer(page)
        yield page


@pytest.fixture
def flags(browser: Browser, url: str) -> Iterator[Page]:
    """The page of a model of pictures in color, 8 wide and 6 high."""
    with opened(browser, f"{url}#flags/1") as page:
        wait_for_answer(page)
        yield page
