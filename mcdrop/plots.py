"""Pictures of trainings. Every plot takes an ``ax``, draws on it and gives it back.

Knows what an axes can draw. Refuses to know figures, files and how anything was computed. The
extra ``plots`` brings matplotlib; nothing here imports it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.loop import Epoch
from mcdrop.uncertainty import Regression

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["band", "losses", "norms", "scores"]

Floats = NDArray[np.floating[Any]]
Color = Any
"""What matplotlib takes for a color."""


def losses(ax: "Axes", history: Sequence[Epoch], label: str, color: Color) -> "Axes":
    """Loss curves over epochs: training dashed (with dropout), validation solid (without)."""
    epochs = [epoch.epoch for epoch in history]
    ax.plot(epochs, [epoch.train_loss for epoch in history], "--", color=color, alpha=0.5)
    ax.plot(epochs, [epoch.validation_loss for epoch in history], color=color, label=label)
    ax.set(xlabel="epoch", ylabel="loss", title="loss (dashed: training rows)", yscale=_scale(ax))
    return ax


def norms(ax: "Axes", history: Sequence[Epoch], label: str, color: Color) -> "Axes":
    """The norm of all weights over epochs, on a logarithmic axis."""
    epochs = [epoch.epoch for epoch in history]
    ax.plot(epochs, [epoch.weight_norm for epoch in history], color=color, label=label)
    ax.set(xlabel="epoch", ylabel="||w||", title="norm of the weights", yscale="log")
    return ax


def scores(ax: "Axes", title: str, values: Sequence[float], colors: Sequence[Color]) -> "Axes":
    """One score of each setting, as bars from the first setting down."""
    bars = ax.barh(range(len(values)), values, color=colors)
    ax.bar_label(bars, [f" {value:.4g}" for value in values])
    ax.set(title=title, yticks=[])
    ax.invert_yaxis()
    ax.margins(x=0.15)
    return ax


def band(ax: "Axes", x: Floats, answer: Regression, label: str, color: Color) -> "Axes":
    """A fitted curve over one feature, (B,), with mean -+ 2 standard deviations of the passes."""
    mean, std = answer.mean[:, 0], np.sqrt(answer.epistemic[:, 0])
    ax.plot(x, mean, color=color, label=label)
    ax.fill_between(x, mean - 2 * std, mean + 2 * std, color=color, alpha=0.2, linewidth=0)
    ax.set(xlabel="x", ylabel="y", title="fitted curves (bands: 2 std of the passes)")
    return ax


def _scale(ax: "Axes") -> str:
    values = np.concatenate([np.asarray(line.get_ydata()) for line in ax.lines])
    return "log" if values.min() > 0 else "linear"
