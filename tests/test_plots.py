"""Plots: ``ax`` in, ``ax`` out, with the numbers they were given."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdrop import plots
from mcdrop.loop import Epoch
from mcdrop.uncertainty import summarize_outputs

HISTORY = [Epoch(n, 2.0 / n, 1.0 / n, None, 3.0 - n, 0.1) for n in (1, 2)]


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def test_losses_are_two_lines(ax: Axes) -> None:
    assert plots.losses(ax, HISTORY, "a", "red") is ax
    assert [list(line.get_ydata()) for line in ax.lines] == [[2, 1], [1, 0.5]]
    assert ax.get_yscale() == "log"
    below = [Epoch(1, -1.0, -2.0, None, 1.0, 0.1)]  # a log-density may be above 0
    assert plots.losses(ax, below, "b", "blue").get_yscale() == "linear"


def test_norms_are_a_line(ax: Axes) -> None:
    assert plots.norms(ax, HISTORY, "a", "red") is ax
    assert list(ax.lines[0].get_ydata()) == [2, 1]


def test_scores_are_bars(ax: Axes) -> None:
    assert plots.scores(ax, "ece", [0.1, 0.3], ["red", "blue"]) is ax
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.3]


def test_the_band_is_two_standard_deviations_of_the_passes(ax: Axes) -> None:
    x = np.array([0.0, 1.0])
    passes = np.array([[[1.0], [5.0]], [[3.0], [5.0]]])  # (T, B, C)
    answer = summarize_outputs(passes, passes.mean(0), aleatoric=9.0)
    assert plots.band(ax, x, answer, "a", "red") is ax
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == 0
    assert corners[:, 1].max() == 5
