"""Fixtures shared by all tests."""

import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import mcdrop
from mcdrop.recipe import load_recipe

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MCDROP_TEST_DATA", ROOT.parent / "shared" / "data"))

# A busy machine is no finding.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts from the same seed in every test."""
    return np.random.default_rng(20_240_117)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the real datasets: MCDROP_TEST_DATA, or ../shared/data."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}: set MCDROP_TEST_DATA to their folder")
    return DATA


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the data are there, a test that needs them may not skip."""
    report = yield
    if report.skipped and DATA.is_dir() and item.get_closest_marker("data"):
        report.outcome = "failed"
        report.longrepr = f"skipped although the data are at {DATA}: {call.excinfo}"
    return report


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped digits recipe, trained once: <temporary repository>/models/digits/1."""
    recipe = load_recipe(ROOT / "models/digits/recipe.toml")
    return mcdrop.train(recipe, "digits", tmp_path_factory.mktemp("trained") / "models")
