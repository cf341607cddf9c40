"""The report's figures. Every chart takes an ``ax``, draws on it and gives it back.

Readable in black and white: answers differ by line style and marker, groups by hatching. Knows
what an axes can draw. Refuses to know figures, files and models.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mcdrop.metrics import Estimate, binomial_interval
from mcdrop.uncertainty import Regression

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "certainty",
    "corruption",
    "curve",
    "histograms",
    "picture",
    "predicted",
    "quantiles",
    "reliability",
    "risk_coverage",
    "shares",
]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_BINS = 10
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "black", "linestyle": ":", "marker": "s"},
    {"color": "#0072B2", "linestyle": "--", "marker": "^"},
    {"color": "#D55E00", "linestyle": "-", "marker": "o"},
)
_FILLS: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "hatch": "///"},
    {"color": "#D55E00", "hatch": "..."},
    {"color": "black", "hatch": "xxx"},
)
_DIAGONAL: dict[str, Any] = {"color": "gray", "linewidth": 1}


def reliability(ax: "Axes", top: Floats, right: Flags, title: str) -> "Axes":
    """How often the answer is right where it claims to be so likely; bars: 95 % binomial.

    Args:
        ax: the axes.
        top: (B,), probability of the answer.
        right: (B,), whether it is right.
        title: of the axes.
    """
    which = np.clip(np.ceil(top * _BINS).astype(int) - 1, 0, _BINS - 1)
    rows, hits = (np.bincount(which, weights, _BINS) for weights in (None, right.astype(float)))
    there = np.flatnonzero(rows)
    claimed = np.bincount(which, top, _BINS)[there] / rows[there]
    heights = hits[there] / rows[there]
    ends = [binomial_interval(int(hits[b]), int(rows[b])) for b in there]
    errors = np.abs(np.array(ends).T - heights)
    ax.plot([0, 1], [0, 1], **_DIAGONAL)
    ax.bar(there / _BINS + 0.5 / _BINS, rows[there] / len(top), 0.9 / _BINS, color="0.85")
    ax.errorbar(claimed, heights, errors, capsize=2, **_STYLES[2])
    ax.set(xlabel="probability claimed", ylabel="share right", title=title)
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    return ax


def risk_coverage(ax: "Axes", answers: Mapping[str, tuple[Floats, Floats]]) -> "Axes":
    """Mean loss of the surest rows, by their share; each answer has confidences and losses (B,)."""
    for (name, (confidence, loss)), style in zip(answers.items(), _STYLES, strict=False):
        order = np.argsort(-confidence, kind="stable")
        count = np.arange(1, len(loss) + 1)
        risk = np.cumsum(loss[order]) / count
        ax.plot(count / len(loss), risk, label=name, markevery=0.1, markersize=4, **style)
    ax.set(xlabel="share answered", ylabel="error rate among answered", xlim=(0, 1))
    ax.legend()
    return ax


def histograms(ax: "Axes", groups: Mapping[str, Floats], label: str) -> "Axes":
    """Densities of an uncertainty in groups of rows, over bins that all share."""
    kept = {name: values for name, values in groups.items() if len(values)}
    high = max(float(np.quantile(values, 0.995)) for values in kept.values()) or 1.0
    bins = np.linspace(0, high, 31)
    for (name, values), fill in zip(kept.items(), _FILLS, strict=False):
        clipped = np.minimum(values, high)
        ax.hist(
            clipped, bins=list(bins), density=True, histtype="step", linewidth=1.5,
            label=f"{name} (n = {len(values)})", fill=False, **fill,
        )  # fmt: skip
    ax.set(xlabel=label, ylabel="density", yscale="log")
    ax.legend()
    return ax


def curve(ax: "Axes", points: Sequence[Mapping[str, Any]], key: str, label: str) -> "Axes":
    """A score over T with its interval, on a logarithmic axis."""
    x = [point["samples"] for point in points]
    values: list[Estimate] = [point[key] for point in points]
    ax.plot(x, [v.value for v in values], **_STYLES[2])
    ax.fill_between(x, [v.low for v in values], [v.high for v in values], color="0.85")
    ax.set(xlabel="passes T", title=label, xscale="log")
    return ax


def shares(ax: "Axes", parts: Mapping[str, Estimate], level: float, label: str) -> "Axes":
    """Shares of each class or target with their intervals, beside the level promised."""
    places = np.arange(len(parts))
    values = np.array([part.value for part in parts.values()])
    ends = np.array([[part.low, part.high] for part in parts.values()])
    errors = np.abs(ends.T - values)
    ax.errorbar(values, places, xerr=errors, fmt="o", color="black", capsize=3)
    ax.axvline(level, linestyle="--", color="gray", label=f"promised: {level:g}")
    ax.set(xlabel=label, yticks=places)
    ax.set_yticklabels(
        [f"{name[:24]} (n = {part.n})" for name, part in parts.items()], parse_math=False
    )
    ax.invert_yaxis()
    ax.legend()
    return ax


def corruption(ax: "Axes", points: Sequence[Mapping[str, Any]], label: str) -> "Axes":
    """Accuracy, confidence and (right-hand scale) epistemic uncertainty by strength."""
    x = [point["strength"] for point in points]
    other = ax.twinx()
    drawn = {
        "accuracy": (ax, _STYLES[0]),
        "confidence": (ax, _STYLES[1]),
        "epistemic": (other, _STYLES[2]),
    }
    lines = []
    for key, (axes, style) in drawn.items():
        values: list[Estimate] = [point[key] for point in points]
        lines += axes.plot(x, [v.value for v in values], label=key, markersize=4, **style)
        low, high = [v.low for v in values], [v.high for v in values]
        axes.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)
    ax.set(xlabel=label, ylim=(0, 1.02))
    other.set_ylim(bottom=0)
    other.set_ylabel("epistemic [nats]")
    # Above the axes: lines that rise and fall leave no corner free.
    ax.legend(handles=lines, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def picture(ax: "Axes", image: NDArray[Any], words: str) -> "Axes":
    """One picture (H, W) in shades of gray, with what is said of it below."""
    ax.imshow(image, cmap="gray")
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(words, fontsize=7, parse_math=False)
    return ax


def predicted(ax: "Axes", y: Floats, mean: Floats, lower: Floats, upper: Floats) -> "Axes":
    """Predicted against true values (B,), with conformal intervals."""
    ends = np.nan_to_num(np.abs(np.array([mean - lower, upper - mean])), posinf=0.0)
    ax.errorbar(y, mean, ends, fmt=".", color="black", ecolor="0.7", elinewidth=0.7, markersize=3)
    span = [float(min(y.min(), mean.min())), float(max(y.max(), mean.max()))]
    ax.plot(span, span, color="#D55E00", linestyle="--")
    ax.set(xlabel="true", ylabel="predicted")
    return ax


def certainty(ax: "Axes", x: Floats, y: Floats, answer: Regression, ends: Floats) -> "Axes":
    """The fit over one feature (B,): mean, its conformal interval (2, B), and the rows."""
    order = np.argsort(x)
    spread = np.sqrt(answer.epistemic[order, 0])
    mean = answer.mean[order, 0]
    ax.fill_between(
        x[order], ends[0, order], ends[1, order], color="0.9", label="conformal interval"
    )
    ax.fill_between(
        x[order], mean - 2 * spread, mean + 2 * spread, facecolor="#D55E0055", hatch="////",
        edgecolor="#D55E00", linewidth=0, label="2 std of the passes",
    )  # fmt: skip
    ax.plot(x[order], mean, color="black", label="mean")
    ax.plot(x, y, "k.", markersize=3)
    ax.set(xlabel="feature", ylabel="target")
    ax.legend()
    return ax


def quantiles(ax: "Axes", mean: Floats, variance: Floats, y: Floats) -> "Axes":
    """Share of truths below each predicted quantile, which should lie on the diagonal."""
    levels = np.arange(1, 100) / 100
    below = np.sort(ndtr((y - mean) / np.sqrt(variance)).ravel())
    found = np.searchsorted(below, levels, side="right") / below.size
    ax.plot([0, 1], [0, 1], **_DIAGONAL)
    ax.plot(levels, found, markevery=10, **_STYLES[2])
    ax.set(xlabel="level of the predicted quantile", ylabel="share of truths below it")
    return ax
