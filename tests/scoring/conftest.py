"""A small model, and rows of three chunks."""

from pathlib import Path

import numpy as np
import pytest

import mcdrop
from tests.models import random_pixels, save_random_classifier
from tests.scoring.outputs import ROWS


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_random_classifier(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def predictor(model):
    return mcdrop.load(model)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return random_pixels(ROWS)


@pytest.fixture
def source(tmp_path, pixels) -> Path:
    path = tmp_path / "rows.npy"
    np.save(path, pixels.astype(np.uint8))
    return path
