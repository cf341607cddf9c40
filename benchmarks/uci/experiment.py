"""One set, twenty splits, trained and scored together.

Knows how splits become networks of one batched training, and how settings are chosen. A split's
test rows take part in nothing but its score.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from benchmarks.uci.data import Rows, splits
from benchmarks.uci.recipes import FIXED, LENGTHS, Grid, build
from mcdrop.many import Many
from mcdrop.metrics import mc_log_likelihood, rmse
from mcdrop.network import DropoutMLP
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe

__all__ = ["PASSES", "Outcome", "fixed", "tuned"]

PASSES = 10_000
"""T of every reported figure."""
_CHOOSING = 100  # passes that settings are compared by
_EPS = 1e-7  # Keras's Adam, which the published runs used
_FINAL = 1_000  # seeds of final networks start here, apart from those of the search


@dataclass(frozen=True)
class Outcome:
    """Scores (splits,) of one recipe on one set, seconds of processor time, chosen settings."""

    rmse: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    seconds: float
    chosen: list[dict[str, object]]


def fixed(rows: Rows, name: str, recipe: str, count: int) -> Outcome:
    """Score a recipe whose p and tau are published."""
    start = time.thread_time()
    setting, (batch_size, epochs) = FIXED[name], LENGTHS[recipe]
    train, test = _parts(rows, count)
    decay = setting.weight_decay(recipe, train.x.shape[1])
    recipes = [
        build(seed, (setting.rate,) * 2, decay, batch_size=batch_size, epochs=epochs)
        for seed in range(count)
    ]
    networks = _train(recipes, train)
    scores = _score(networks, train, test, [setting.precision] * count)
    return Outcome(*scores, time.thread_time() - start, [])


def tuned(rows: Rows, grid: Grid, count: int) -> Outcome:
    """Choose rates, lambda and tau for each split on its training rows; train again; score."""
    start = time.thread_time()
    likelihoods, precisions = _compare(rows, grid, count)  # (settings, splits)
    best = likelihoods.argmax(0)
    precision = [float(precisions[k, split]) for split, k in enumerate(best)]
    train, test = _parts(rows, count)
    recipes = [_build(grid, _FINAL + split, k) for split, k in enumerate(best)]
    scores = _score(_train(recipes, train), train, test, precision)
    chosen: list[dict[str, object]] = [
        {
            "input_rate": recipe.network.input_dropout,
            "rate": recipe.network.rates[0],
            "weight_decay": recipe.regularization.weight_decay,
            "tau": tau,
        }
        for recipe, tau in zip(recipes, precision, strict=True)
    ]
    return Outcome(*scores, time.thread_time() - start, chosen)


def _compare(rows: Rows, grid: Grid, count: int) -> tuple[NDArray[np.float64], ...]:
    """Validation log-likelihood and best tau of every setting, (settings, splits)."""
    parts = [part for train, _ in splits(len(rows.x), count) for part in _fold(train, grid.folds)]
    inner, held_out = (rows.take(np.stack(places)) for places in zip(*parts, strict=True))
    truth = held_out.y.reshape(count, -1, 1)  # (splits, folds x rows, 1)
    results = []
    for setting in range(len(grid.settings)):
        recipes = [_build(grid, seed, setting) for seed in range(len(parts))]
        networks = _train(recipes, inner)
        passes = np.stack(list(_sample(networks, inner.encode(held_out), _CHOOSING)))
        # A split's folds lie side by side: (splits, folds, T, rows, 1) -> (splits, T, rows, 1)
        passes = passes.reshape(count, grid.folds, *passes.shape[1:])
        joined = passes.swapaxes(1, 2).reshape(count, _CHOOSING, -1, 1)
        results.append([_fit_precision(s, y) for s, y in zip(joined, truth, strict=True)])
    likelihoods, precisions = np.moveaxis(np.array(results), -1, 0)
    return likelihoods, precisions


def _fold(places: NDArray[np.int64], folds: int) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """(training, validation) places, of equal sizes; with one fold the last fifth is held out."""
    if folds == 1:
        kept = round(0.8 * len(places))
        yield places[:kept], places[kept:]
        return
    size = len(places) // folds
    for k in range(folds):
        held_out = np.arange(k * size, (k + 1) * size)
        yield np.delete(places, held_out), places[held_out]


def _build(grid: Grid, seed: int, setting: int) -> Recipe:
    rates, decay = grid.settings[setting]
    return build(
        seed,
        rates,
        decay,
        batch_size=grid.batch_size,
        epochs=grid.epochs,
        hidden=grid.hidden,
        lr=grid.lr,
        schedule="cosine",
    )


def _parts(rows: Rows, count: int) -> tuple[Rows, Rows]:
    """Training and test rows (splits, R, ...)."""
    train, test = zip(*splits(len(rows.x), count), strict=True)
    return rows.take(np.stack(train)), rows.take(np.stack(test))


def _train(recipes: Sequence[Recipe], rows: Rows) -> tuple[DropoutMLP, ...]:
    """Train all epochs of each network on its own rows: no early stopping, as published."""
    many = Many(recipes, rows.encode(rows), rows.y, eps=_EPS)
    for _ in range(recipes[0].training.epochs):
        many.epoch()
    return many.networks()


def _score(
    networks: Sequence[DropoutMLP], train: Rows, test: Rows, precisions: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Test RMSE of the MC mean and log-likelihood of each split, at T = PASSES."""
    samples = _sample(networks, train.encode(test), PASSES)
    scores = [
        (rmse(passes.mean(0), y), mc_log_likelihood(passes, y, tau))
        for passes, y, tau in zip(samples, test.y, precisions, strict=True)
    ]
    errors, likelihoods = np.array(scores).T
    return errors, likelihoods


def _sample(
    networks: Sequence[DropoutMLP], x: NDArray[np.float32], passes: int
) -> Iterator[NDArray[np.float64]]:
    """The passes (T, B, 1) of each network on its own rows (B, D)."""
    for seed, (network, rows) in enumerate(zip(networks, x, strict=True)):
        yield Posterior(network, passes, seed, task="regression").sample(rows)


def _fit_precision(samples: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """The highest log-likelihood over tau, and its tau."""
    guess = -float(np.log(np.mean((samples.mean(0) - y) ** 2)))
    found = minimize_scalar(
        lambda log_tau: -mc_log_likelihood(samples, y, np.exp(log_tau)),
        bounds=(guess - 2, guess + 4),
        options={"xatol": 0.01},
    )
    return -float(found.fun), float(np.exp(found.x))
