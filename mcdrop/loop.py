"""The training loop: epochs of steps, early stopping, and all that a later epoch depends on.

Knows optimization. Refuses to know files, how rows were encoded and where they lie.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mcdrop.augmentation import Augmentation
from mcdrop.errors import TrainingError
from mcdrop.feed import Feed
from mcdrop.network import DropoutMLP
from mcdrop.objective import Objective
from mcdrop.recipe import Recipe
from mcdrop.regularization import Regularizer, build_optimizer
from mcdrop.schedules import lr_factor

__all__ = ["Epoch", "Run", "ignore"]


@dataclass(frozen=True)
class Epoch:
    """One line of the history; losses are means per row, with and without dropout."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float | None
    weight_norm: float
    seconds: float


def ignore(*_: object) -> None:
    """Take no notice of progress."""


class Run:
    """A training under way; ``history``, ``kept`` and ``kept_epoch`` say what came of it."""

    def __init__(
        self,
        network: DropoutMLP,
        train: Feed,
        validation: tuple[Tensor, Tensor],
        recipe: Recipe,
        objective: Objective,
        order: torch.Generator,
        masks: torch.Generator,
        augment: Augmentation,
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        self.recipe, self.training, self.objective = recipe, recipe.training, objective
        self.order, self.masks, self.augment = order, masks, augment
        self.regularizer = Regularizer(network, recipe.regularization)
        self.optimizer = build_optimizer(network, recipe.training, recipe.regularization)
        self.history: list[Epoch] = []
        self.kept, self.kept_epoch = _copy_state(network), 0

    def epochs(
        self, on_step: Callable[[int, int], None], on_epoch: Callable[[Epoch], None]
    ) -> None:
        """Train until the epochs or the patience are used up."""
        while not self._done():
            start, number = time.perf_counter(), len(self.history) + 1
            train_loss = self._epoch(on_step)
            epoch = replace(self._measure(number), train_loss=train_loss)
            if not math.isfinite(epoch.train_loss + epoch.validation_loss):
                raise TrainingError(self._diagnose(epoch))
            self._keep(epoch)
            epoch = replace(epoch, seconds=time.perf_counter() - start)
            self.history.append(epoch)
            on_epoch(epoch)

    def _done(self) -> bool:
        epochs, patience = len(self.history), self.training.patience
        waited = epochs - self.kept_epoch
        return epochs >= self.training.epochs or 0 < patience <= waited

    def _keep(self, epoch: Epoch) -> None:
        """Keep the weights if they are the best so far, or the last where there is no patience."""
        best = self.history[self.kept_epoch - 1].validation_loss if self.kept_epoch else math.inf
        if not self.training.patience or epoch.validation_loss < best:
            self.kept, self.kept_epoch = _copy_state(self.network), epoch.epoch

    def _epoch(self, on_step: Callable[[int, int], None]) -> float:
        """One pass over the training rows; the mean loss of its batches, without penalties."""
        order = torch.randperm(len(self.train), generator=self.order)
        batches = math.ceil(len(order) / self.training.batch_size)
        first, steps = len(self.history) * batches, self.training.epochs * batches
        total = torch.zeros((), device=self.train.device)
        for step, (x, y) in enumerate(self.train.batches(order)):
            factor = lr_factor(self.training.schedule, first + step, steps)
            total += self._step(self.augment(x, self.order), y, self.training.lr * factor) * len(x)
            on_step(step + 1, batches)
        return total.item() / len(order)

    def _step(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        half = self.training.precision == "bfloat16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            outputs = self.network.thinned(x, self.masks)
        loss = self.objective.training(outputs.float(), y)
        penalty = self.regularizer.penalty()
        self.optimizer.zero_grad(set_to_none=True)
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        if self.training.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.training.clip_norm)
        self.optimizer.step()
        self.regularizer.after_step(lr)
        return loss.detach()

    @torch.inference_mode()
    def _measure(self, number: int) -> Epoch:
        self.network.eval()
        x, y = self.validation
        outputs = torch.cat([self.network(block) for block in torch.split(x, 8192)])
        loss = self.objective.held_out(outputs, y).item()
        hits = (outputs.argmax(1) == y).double().mean().item() if y.dim() == 1 else None
        weights = (p for p in self.network.parameters() if p.dim() > 1)
        norm = math.sqrt(sum(w.square().sum().item() for w in weights))
        return Epoch(number, math.nan, loss, hits, norm, 0.0)

    def _diagnose(self, epoch: Epoch) -> str:
        causes = f"lower the learning rate, now {self.training.lr}"
        if self.training.clip_norm is None:
            causes += ", or clip gradients by training.clip_norm"
        return (
            f"the loss is not finite in epoch {epoch.epoch} (training {epoch.train_loss}, "
            f"validation {epoch.validation_loss}), most likely because steps are too long: {causes}"
        )

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the coming epochs depend on, as tensors and as JSON."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"kept.{k}": v for k, v in self.kept.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items() if v is not None}
        tensors |= {"order": self.order.get_state(), "masks": self.masks.get_state()}
        history = [asdict(epoch) for epoch in self.history]
        return tensors, {"history": history, "kept_epoch": self.kept_epoch}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take up what `snapshot` gave."""
        self.network.load_state_dict(_under("network.", tensors))
        self.kept = _under("kept.", tensors)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.order.set_state(tensors["order"])
        self.masks.set_state(tensors["masks"])
        self.history = [Epoch(**epoch) for epoch in facts["history"]]
        self.kept_epoch = facts["kept_epoch"]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _copy_state(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}
