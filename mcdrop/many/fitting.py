"""Fitting N recipes of one shape together: the batched counterpart of `mcdrop.training.fit`.

Knows early stopping and the history of each network. Refuses to know how a step is taken.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mcdrop.data.sources import Dataset, Split
from mcdrop.errors import InputError
from mcdrop.many.stack import Many
from mcdrop.recipe import Recipe
from mcdrop.training import Epoch, Fitted, ignore

__all__ = ["fit_many"]


def fit_many(
    recipes: Sequence[Recipe],
    datasets: Dataset | Sequence[Dataset],
    *,
    device: str = "cpu",
    on_epoch: Callable[[int, Tensor], None] = ignore,
) -> tuple[Fitted, ...]:
    """Train N recipes of one shape at once, each as `mcdrop.training.fit` would alone.

    Each network keeps its best epoch and stops by its own patience (0: keeps its last); training
    ends with the last one. A network whose loss is no longer finite stops there; its best epoch is
    0 if it never had a finite validation loss.

    Args:
        recipes: N recipes; see `mcdrop.many.Many` for what they may differ in.
        datasets: rows for all, or one dataset for each recipe, with as many rows in each part.
        device: where to train.
        on_epoch: called with the number of each epoch and its validation losses (N,).

    Returns:
        N fitted networks, in the order of the recipes; an epoch's seconds are those of all N.

    Raises:
        InputError: recipes or datasets that do not go together.
    """
    train, validation, classes = _rows(datasets)
    many = Many(recipes, train.x, train.y, classes=classes, device=device)
    patience = torch.tensor([recipe.training.patience for recipe in recipes])
    keep_last = patience == 0
    best, best_epoch = torch.full((len(recipes),), math.inf), torch.zeros_like(patience)
    kept, alive = many.snapshot(), torch.ones(len(recipes), dtype=torch.bool)
    histories: list[list[Epoch]] = [[] for _ in recipes]
    for number in range(1, recipes[0].training.epochs + 1):
        start = time.perf_counter()
        losses, held_out = many.epoch().cpu(), many.loss(validation.x, validation.y).cpu()
        norms, seconds = many.weight_norms(), time.perf_counter() - start
        for n in alive.nonzero().flatten().tolist():
            scores = losses[n].item(), held_out[n].item(), None, norms[n].item()
            histories[n].append(Epoch(number, *scores, seconds))
        better = alive & ((held_out < best) | (keep_last & torch.isfinite(held_out)))
        best, best_epoch = torch.where(better, held_out, best), best_epoch.where(~better, number)
        kept = kept.where(~better[:, None].to(kept.device), many.snapshot())
        alive &= (number - best_epoch < patience.clamp(min=1)) & torch.isfinite(losses + held_out)
        on_epoch(number, held_out)
        if not alive.any():
            break
    return tuple(
        Fitted(network, tuple(history), int(epoch), device)
        for network, history, epoch in zip(many.networks(kept), histories, best_epoch, strict=True)
    )


def _rows(datasets: Dataset | Sequence[Dataset]) -> tuple[Split, Split, int]:
    """Training and validation rows, (N, R, ...) if there are N datasets, and the classes."""
    if isinstance(datasets, Dataset):
        return datasets.train, datasets.validation, len(datasets.classes)
    parts = [[d.train for d in datasets], [d.validation for d in datasets]]
    if any(len({(len(s), s.x.shape[1]) for s in splits}) != 1 for splits in parts):
        raise InputError(
            "networks trained together need as many rows and columns each: got training parts of "
            f"{[s.x.shape for s in parts[0]]} and validation parts of "
            f"{[s.x.shape for s in parts[1]]}"
        )
    train, validation = (
        Split(np.stack([s.x for s in splits]), np.stack([s.y for s in splits])) for splits in parts
    )
    return train, validation, len(datasets[0].classes)
