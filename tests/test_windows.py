"""The last rows of all workers, those that were killed included."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import mcdrop
from mcdrop.calibration import row_strangeness
from mcdrop_service.ask import Ask
from mcdrop_service.job import Job
from mcdrop_service.windows import Windows
from tests.models import random_pixels, save_random_classifier


def fill(windows: Windows, values: np.ndarray, kill: bool) -> None:
    windows.add("tiny", 1, values)
    if kill:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("kill", [False, True])
def test_processes_are_joined_by_time(tmp_path: Path, kill: bool) -> None:
    windows = Windows(tmp_path, 6)
    for start in (0, 10):
        values = np.arange(start, start + 4.0)
        process = multiprocessing.get_context("fork").Process(
            target=fill, args=(windows, values, kill)
        )
        process.start()
        process.join()
        time.sleep(0.01)
    assert windows.last("tiny", 1).tolist() == [2.0, 3.0, 10.0, 11.0, 12.0, 13.0]
    assert windows.last("tiny", 2).tolist() == []
    assert list(windows.models()) == [("tiny", 1)]


def test_a_window_turns_round(tmp_path: Path) -> None:
    windows = Windows(tmp_path, 50)
    values = np.random.default_rng(0).random(400)
    for start in range(0, 400, 37):
        windows.add("tiny", 1, values[start : start + 37])
    assert sorted(windows.last("tiny", 1)) == sorted(values[-50:])
    windows.add("tiny", 1, values)  # more at once than it holds
    assert sorted(windows.last("tiny", 1)) == sorted(values[-50:])


def test_only_rows_of_the_reference_s_own_passes_are_kept(tmp_path: Path) -> None:
    predictor = mcdrop.load(save_random_classifier(tmp_path / "models"))
    pixels = random_pixels(3)
    windows = Windows(tmp_path, 10)
    for samples, seed in ((predictor.card.samples, 0), (7, 0), (predictor.card.samples, 1)):
        found = predictor.predict(pixels, samples, seed)
        job = Job(Ask(pixels, seed=seed), predictor, pixels.astype(np.float32), samples)
        windows([job], found)
    found = predictor.predict(pixels)
    expected = row_strangeness(found, found.unknown)
    assert windows.last("tiny", 1).tolist() == expected.tolist()
