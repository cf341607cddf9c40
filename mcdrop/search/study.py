"""Hyperparameter search: trials of one recipe, compared by the validation NLL of the MC answer.

Knows a study in SQLite that trials are added to by any number of processes, now or later. Refuses
to know test rows.
"""

import csv
import math
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mcdrop.corrections import fit_noise
from mcdrop.data.sources import Dataset, load_dataset
from mcdrop.errors import InputError, TrainingError
from mcdrop.metrics import gaussian_nll, nll
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe
from mcdrop.search.ranges import RANGES, Range, propose
from mcdrop.search.toml import to_toml
from mcdrop.training import Epoch, fit
from mcdrop.uncertainty import Classification

if TYPE_CHECKING:
    import optuna

__all__ = ["Trial", "search"]

Sampler = Literal["tpe", "random", "grid"]


@dataclass(frozen=True)
class Trial:
    """A trial that ended, for progress.

    Attributes:
        number: its number in the study, from 0.
        state: "complete", "pruned" or "fail".
        value: its validation NLL, if complete.
        best: the study's lowest NLL so far.
        finished: the study's finished trials so far.
    """

    number: int
    state: str
    value: float | None
    best: float | None
    finished: int


def search(
    recipe: Recipe,
    out: Path,
    *,
    trials: int,
    sampler: Sampler = "tpe",
    ranges: Mapping[str, Range] = RANGES,
    data_root: Path | None = None,
    base: Path = Path(),
    device: str = "auto",
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> Path:
    """Add trials to the study in ``out`` until it has ``trials``; write winner and table.

    Each trial trains the recipe with other values of what is tuned and is judged by the mean
    negative log-likelihood of the MC answer (T = ``recipe.samples``) on the validation rows. A
    trial whose validation loss falls behind the median of earlier ones at the same epoch is
    pruned. After every trial ``out`` holds study.db, trials.csv and, once one is complete,
    recipe.toml. Processes that search into one folder share its study; a search that was broken
    off goes on where it was. One process alone is reproducible from ``recipe.seed``.

    Args:
        recipe: what to train; its own values stand where nothing is tuned.
        out: folder of the study.
        trials: finished trials the study is to have, those of other processes and of earlier
            searches included.
        sampler: "tpe" (Bergstra 2011), "random", or "grid" with three values a range.
        ranges: what is tuned and its bounds, by names of `RANGES`.
        data_root: as in `mcdrop.data.sources.load_dataset`.
        base: likewise.
        device: "auto", or a torch device name.
        on_trial: called with each trial that this process finishes.

    Returns:
        The path of the winning recipe.

    Raises:
        InputError: Optuna is absent, or a range has an unknown name.
        TrainingError: no trial could be completed.
    """
    if unknown := set(ranges) - set(RANGES):
        raise InputError(f"cannot tune {', '.join(unknown)}: choose from {', '.join(RANGES)}")
    dataset = load_dataset(recipe, data_root, base)
    out.mkdir(parents=True, exist_ok=True)
    study = _open_study(out / "study.db", sampler, ranges, recipe.seed)

    def objective(trial: "optuna.Trial") -> float:
        proposal = propose(trial, recipe, ranges, one_rate=sampler == "grid")
        return _try(proposal, dataset, trial, device)

    def finished(study: "optuna.Study", ended: "optuna.trial.FrozenTrial") -> None:
        with _alone(out / "study.lock"):
            best = _best(study)
            if best is not None:
                (out / "recipe.toml").write_text(best.user_attrs["recipe"], encoding="utf-8")
            _write_table(study, out / "trials.csv")
        state = ended.state.name
        value = ended.value if state == "COMPLETE" else None
        count = _finished(study)
        on_trial(Trial(ended.number, state.lower(), value, best.value if best else None, count))
        if count >= trials:
            study.stop()

    if (remaining := trials - _finished(study)) > 0:
        study.optimize(objective, n_trials=remaining, callbacks=[finished], catch=(TrainingError,))
    if _best(study) is None:
        raise TrainingError("no trial was completed: lower the learning rates that are tried")
    return out / "recipe.toml"


def _try(recipe: Recipe, dataset: Dataset, trial: "optuna.Trial", device: str) -> float:
    """Train a trial's recipe; its mean validation NLL, in nats."""
    from optuna import TrialPruned

    trial.set_user_attr("recipe", to_toml(recipe))

    def on_epoch(epoch: Epoch) -> None:
        trial.report(epoch.validation_loss, epoch.epoch)
        if trial.should_prune():
            raise TrialPruned

    network = fit(recipe, dataset, device=device, on_epoch=on_epoch).network
    x, y = dataset.validation.x, dataset.validation.y
    answer = Posterior(network, recipe.samples, recipe.seed, task=recipe.task).predict(x)
    if isinstance(answer, Classification):
        return nll(answer.mean, y)
    noise = np.array(fit_noise(answer.mean, answer.epistemic, y))
    learned = recipe.network.variance == "learned"
    return gaussian_nll(answer.mean, answer.total if learned else answer.epistemic + noise, y)


def _open_study(
    path: Path, sampler: Sampler, ranges: Mapping[str, Range], seed: int
) -> "optuna.Study":
    try:
        import optuna
    except ImportError:
        raise InputError("search needs Optuna: pip install 'mcdrop[search]'") from None

    def options(seed: int | None) -> dict[str, Any]:
        return {
            "study_name": "search",
            "storage": f"sqlite:///{path}",
            "direction": "minimize",
            "pruner": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            "sampler": _sampler(sampler, ranges, seed),
        }

    with _alone(path.with_suffix(".lock")):
        try:
            return optuna.create_study(**options(seed))
        except optuna.exceptions.DuplicatedStudyError:
            # Begun by others: with their seed, this process would repeat their trials.
            return optuna.create_study(**options(None), load_if_exists=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time: Optuna's tables, or our files, cannot be made by two at once."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def _sampler(name: Sampler, ranges: Mapping[str, Range], seed: int | None) -> Any:
    from optuna import samplers

    if name == "grid":
        grid = {label: bounds.points() for label, bounds in ranges.items()}
        return samplers.GridSampler(grid, seed=seed)
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant_liar, which parallel trials need, is marked new
        return samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)


def _finished(study: "optuna.Study") -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def _best(study: "optuna.Study") -> "optuna.trial.FrozenTrial | None":
    complete = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    return min(complete, key=lambda t: t.value if t.value is not None else math.inf, default=None)


def _write_table(study: "optuna.Study", path: Path) -> None:
    """Every trial, a line each: how it ended, its NLL, its seconds and values."""
    trials = study.get_trials(deepcopy=False)
    names = sorted({name for trial in trials for name in trial.params})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trial", "state", "validation_nll", "seconds", *names])
        for trial in trials:
            value = trial.value if trial.state.name == "COMPLETE" else None
            seconds = trial.duration.total_seconds() if trial.duration else None
            values = [trial.params.get(name) for name in names]
            writer.writerow([trial.number, trial.state.name.lower(), value, seconds, *values])
