"""The training loop: encoded rows in, a fitted network and its history out.

Knows optimization, devices, early stopping and reproducibility. Refuses to know files and
serving. Small data lives on the device; a batch is a slice of shuffled indices.
"""

import csv
import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from mcdrop.data.sources import Dataset, Split
from mcdrop.errors import InputError, TrainingError
from mcdrop.network import DropoutMLP, build_network
from mcdrop.recipe import Recipe
from mcdrop.regularization import build_optimizer

__all__ = ["Epoch", "Fitted", "choose_device", "fit", "ignore"]


@dataclass(frozen=True)
class Epoch:
    """One line of the history; losses are means per row, with and without dropout."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float | None
    weight_norm: float
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """A trained network, in eval mode on the CPU, and how it came about."""

    network: DropoutMLP
    history: tuple[Epoch, ...]
    best_epoch: int
    device: str

    @property
    def history_csv(self) -> str:
        """The history as CSV text, a line per epoch."""
        rows = [asdict(epoch) for epoch in self.history]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def ignore(*_: object) -> None:
    """Take no notice of progress."""


def choose_device(name: str = "auto") -> torch.device:
    """``name`` as a device; "auto" takes cuda, then mps, then cpu, whichever is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and torch.backends.mps.is_available():
            name = "mps"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used: {reason}; try 'cpu'") from None


def fit(
    recipe: Recipe,
    dataset: Dataset,
    *,
    device: str = "auto",
    on_step: Callable[[int, int], None] = ignore,
    on_epoch: Callable[[Epoch], None] = ignore,
) -> Fitted:
    """Train the recipe's network on the dataset and keep the best epoch's weights.

    Minimizes the mean cross-entropy, or the mean squared error of standardized targets (the
    standardization is folded into the last layer afterwards, so that the network answers in the
    target's own unit). Stops once the validation loss has not improved for ``patience`` epochs.
    Reproducible from ``recipe.seed`` on one device; torch's global generators are left as found.

    Args:
        recipe: what to train.
        dataset: encoded rows; ``train`` and ``validation`` are used, ``test`` is not.
        device: "auto", or a torch device name.
        on_step: called with (batches done, batches in all) within each epoch.
        on_epoch: called with each finished epoch.

    Raises:
        TrainingError: the loss is no longer finite.
        InputError: the device cannot be used.
    """
    place = choose_device(device)
    generator = torch.Generator().manual_seed(recipe.seed)
    outputs = len(dataset.classes) or dataset.train.y.shape[1]
    network = build_network(recipe.network, dataset.train.x.shape[1], outputs, generator)
    targets = None if dataset.classes else _Targets(dataset.train.y)
    run = _Run(
        network.to(place),
        _to_device(dataset.train, targets, place),
        _to_device(dataset.validation, targets, place),
        recipe,
        generator,
    )
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(recipe.seed)  # nn.Dropout has no generator of its own
        history, best_epoch = run.epochs(on_step, on_epoch)
    network = network.cpu().eval().requires_grad_(False)
    if targets:
        targets.fold_into(network)
    return Fitted(network, history, best_epoch, str(place))


@dataclass
class _Run:
    network: nn.Module
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    recipe: Recipe
    generator: torch.Generator

    def epochs(
        self, on_step: Callable[[int, int], None], on_epoch: Callable[[Epoch], None]
    ) -> tuple[tuple[Epoch, ...], int]:
        training = self.recipe.training
        optimizer = build_optimizer(self.network, training, self.recipe.regularization)
        schedule = self._schedule(optimizer)
        history: list[Epoch] = []
        best, best_state = math.inf, _copy_state(self.network)
        best_epoch = 0
        for number in range(1, training.epochs + 1):
            start = time.perf_counter()
            train_loss = self._epoch(optimizer, schedule, on_step)
            epoch = replace(self._measure(number), train_loss=train_loss)
            if not math.isfinite(epoch.train_loss + epoch.validation_loss):
                raise TrainingError(
                    f"the loss is not finite in epoch {number} (training {train_loss}, validation "
                    f"{epoch.validation_loss}): lower the learning rate, now {training.lr}"
                )
            epoch = replace(epoch, seconds=time.perf_counter() - start)
            history.append(epoch)
            on_epoch(epoch)
            if epoch.validation_loss < best:
                best, best_epoch = epoch.validation_loss, number
                best_state = _copy_state(self.network)
            elif number - best_epoch >= training.patience:
                break
        self.network.load_state_dict(best_state)
        return tuple(history), best_epoch

    def _schedule(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        """The learning rate's factor by step; cosine as in Loshchilov & Hutter 2017, eq. 5."""
        training = self.recipe.training
        if training.schedule == "constant":
            return LambdaLR(optimizer, lambda _: 1.0)
        steps = training.epochs * math.ceil(len(self.train[0]) / training.batch_size)
        return LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)

    def _epoch(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: LambdaLR,
        on_step: Callable[[int, int], None],
    ) -> float:
        self.network.train()
        x, y = self.train
        order = torch.randperm(len(x), generator=self.generator).to(x.device)
        batches = torch.split(order, self.recipe.training.batch_size)
        total = torch.zeros((), device=x.device)
        for step, batch in enumerate(batches, 1):
            loss = _loss(self.network(x[batch]), y[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(batch)
            on_step(step, len(batches))
        return total.item() / len(x)

    @torch.inference_mode()
    def _measure(self, number: int) -> Epoch:
        self.network.eval()
        x, y = self.validation
        outputs = torch.cat([self.network(block) for block in torch.split(x, 8192)])
        loss = _loss(outputs, y).item()
        hits = (outputs.argmax(1) == y).double().mean().item() if y.dim() == 1 else None
        weights = (p for p in self.network.parameters() if p.dim() > 1)
        norm = math.sqrt(sum(w.square().sum().item() for w in weights))
        return Epoch(number, math.nan, loss, hits, norm, 0.0)


def _loss(outputs: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs, y) if y.dim() == 1 else F.mse_loss(outputs, y)


def _copy_state(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def _to_device(
    split: Split, targets: "_Targets | None", device: torch.device
) -> tuple[Tensor, Tensor]:
    y = targets.standardize(split.y) if targets else torch.from_numpy(split.y)
    return torch.from_numpy(split.x).to(device), y.to(device)


class _Targets:
    """The standardization of regression targets, fitted on (B, C) training targets."""

    def __init__(self, y: NDArray[np.float64]) -> None:
        self.mean = torch.from_numpy(y.mean(0))
        self.std = torch.from_numpy(np.where(y.std(0) > 0, y.std(0), 1.0))

    def standardize(self, y: NDArray[np.float64]) -> Tensor:
        return ((torch.from_numpy(y) - self.mean) / self.std).float()

    @torch.no_grad()
    def fold_into(self, network: DropoutMLP) -> None:
        """Make the last layer answer in the targets' unit: w <- std w, b <- std b + mean."""
        last = cast(nn.Linear, network[-1])
        last.weight.mul_(self.std[:, None])
        last.bias.copy_(last.bias * self.std + self.mean)
