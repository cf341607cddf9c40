"""Rows of six chunks, three of them bad, and processes to kill."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from mcdrop.scoring.rows import CHUNK
from tests.models import random_pixels
from tests.scoring.once.interrupting import BAD, CHUNKS


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    x = random_pixels((CHUNKS - 1) * CHUNK + 500).astype(np.float32)
    x[list(BAD), 3] = np.nan
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(path, x)
    return path


@pytest.fixture(scope="module")
def context():
    """Processes that are forked from one that has imported everything: each starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["mcdrop.scoring", "mcdrop.predictor", "tests.scoring.once.interrupting"]
    )
    return context
