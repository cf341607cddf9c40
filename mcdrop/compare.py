"""Recipes and their sweeps trained side by side: one table, one figure.

Knows which numbers a comparison states of each setting. Refuses to know terminals and how a curve
is drawn on its axes. Nothing is written to the model repository.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch import nn

from mcdrop import plots
from mcdrop.assessment import assess
from mcdrop.data.sources import Dataset, Split, load_dataset
from mcdrop.errors import InputError
from mcdrop.loop import Epoch, ignore
from mcdrop.network import with_spread
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe
from mcdrop.sweep import settings
from mcdrop.training import Fitted, fit
from mcdrop.uncertainty import Regression

__all__ = ["Plan", "Trained", "compare", "plans", "table", "write"]

_BLOCK = 8192  # rows of a forward


@dataclass(frozen=True)
class Plan:
    """One training: a recipe's ``name``, the ``setting`` of its sweep, the folder of its files."""

    name: str
    setting: str
    recipe: Recipe
    base: Path

    @property
    def label(self) -> str:
        """What to call it beside others."""
        return f"{self.name}: {self.setting}" if self.setting else self.name


@dataclass(frozen=True)
class Trained:
    """What came of a plan: ``row`` of the table, the fit, the data and the served posterior."""

    plan: Plan
    row: dict[str, Any]
    fitted: Fitted
    dataset: Dataset
    posterior: Posterior


def plans(recipes: Sequence[tuple[str, Recipe, Path]]) -> list[Plan]:
    """Every setting of every recipe (name, recipe, folder of its files).

    Raises:
        RecipeError: a sweep names an unknown field or a value out of bounds.
    """
    return [
        Plan(name, setting, recipe, base)
        for name, swept, base in recipes
        for setting, recipe in settings(swept).items()
    ]


def compare(
    plan: Plan,
    *,
    data_root: Path | None = None,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] = ignore,
    watch: Callable[[Epoch, nn.Module], None] = ignore,
) -> Trained:
    """Train one plan and measure it.

    The row has ``name``, ``setting``, ``epochs``, the kept epoch's ``weight_norm`` (weights
    without biases, in the unit they are learned in), the share ``zeros`` of weights that are
    exactly 0, ``train_loss`` and ``test_loss`` of the
    network without dropout (cross-entropy in nats, or mean squared error in the target's unit), and
    the scores of the served answer on the test rows (`mcdrop.metrics.summarize`).

    Raises:
        McdropError: the data or the training failed.
    """
    recipe = plan.recipe
    dataset = load_dataset(recipe, data_root, plan.base)
    fitted = fit(recipe, dataset, device=device, on_epoch=on_epoch, watch=watch)
    found = assess(recipe, dataset, fitted.network)
    calibration = found.calibration
    row = {
        "name": plan.name,
        "setting": plan.setting,
        "epochs": len(fitted.history),
        "weight_norm": fitted.history[fitted.best_epoch - 1].weight_norm,
        "zeros": _zeros(fitted.network),
        "train_loss": _loss(fitted.network, dataset.train),
        "test_loss": _loss(fitted.network, dataset.test),
        **found.metrics["served"],
    }
    network = with_spread(fitted.network, calibration.spread)
    posterior = Posterior(
        network, recipe.samples, recipe.seed, task=recipe.task, **calibration.options
    )
    return Trained(plan, row, fitted, dataset, posterior)


def write(trained: Sequence[Trained], out: Path) -> None:
    """Write ``compare.json``, ``compare.md`` and ``compare.png`` into the folder ``out``.

    Raises:
        InputError: the folder cannot be written, or matplotlib is not installed (the other two
            files are there then).
    """
    rows = [one.row for one in trained]
    try:
        out.mkdir(parents=True, exist_ok=True)
        text = orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (out / "compare.json").write_bytes(text)  # what is not finite becomes null
        (out / "compare.md").write_text(table(rows), encoding="utf-8")
        _draw(trained, out / "compare.png")
    except OSError as error:
        raise InputError(f"the comparison cannot be written to {out}: {error}") from None


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table, numbers to four digits; empty where a row lacks a number."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name, "")) for name in names] for row in rows]
    lines = [names, ["---"] * len(names), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _draw(trained: Sequence[Trained], path: Path) -> None:
    """Loss curves, norms, scores; and fitted curves where all rows have one feature."""
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("matplotlib is not installed: pip install 'mcdrop[plots]'") from None
    colors: list[Any] = [colormaps["tab10"](i % 10) for i in range(len(trained))]
    lines = all(one.dataset.train.x.shape[1] == 1 for one in trained)
    figure = Figure(figsize=(12, 12 if lines else 8), layout="constrained")
    axes = figure.subplots(3 if lines else 2, 2).ravel()
    for one, color in zip(trained, colors, strict=True):
        plots.losses(axes[0], one.fitted.history, one.plan.label, color)
        plots.norms(axes[1], one.fitted.history, one.plan.label, color)
        if lines:
            _fitted(axes[4:], one, color)
    for ax in axes[4:]:
        ax.set_visible(bool(ax.lines))
    rows = [one.row for one in trained]
    score = "ece" if all("ece" in row for row in rows) else "nll"
    plots.scores(axes[2], "test loss", [row["test_loss"] for row in rows], colors)
    plots.scores(axes[3], f"test {score}", [row[score] for row in rows], colors)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=100)


def _fitted(axes: Sequence[Any], one: Trained, color: Any) -> None:
    """The fitted curve of one feature: on the first axes without dropout, with it on the second."""
    x = one.dataset.train.x[:, 0]
    grid = np.linspace(1.5 * x.min(), 1.5 * x.max(), 200, dtype=np.float32)
    answer = one.posterior.predict(grid[:, None])
    if isinstance(answer, Regression):
        ax = axes[1 if answer.epistemic.any() else 0]
        plots.band(ax, grid, answer, one.plan.label, color)
        ax.plot(x, one.dataset.train.y[:, 0], "ko", markersize=3)


def _zeros(network: nn.Module) -> float:
    weights = torch.cat([p.flatten() for p in network.parameters() if p.dim() > 1])
    return (weights == 0).double().mean().item()


@torch.inference_mode()
def _loss(network: nn.Module, split: Split) -> float:
    blocks = torch.split(torch.from_numpy(split.x), _BLOCK)
    outputs = torch.cat([network(block) for block in blocks]).double()
    y = torch.from_numpy(split.y)
    if y.dim() == 1:
        return nn.functional.cross_entropy(outputs, y).item()
    return float(np.mean(np.square(outputs[:, : y.shape[1]].numpy() - split.y)))
