"""L2 regularization through the optimizer: which parameters decay, and in which form.

Knows that weights (parameters with more than one dimension) decay and that biases and
normalization gains do not. Refuses to know the network's shape. Lambda is stated for a loss that
is the mean over the batch; it is never divided by the number of samples.
"""

from typing import Any

import torch
from torch import nn

from mcdrop.recipe import RegularizationRecipe, TrainingRecipe

__all__ = ["build_optimizer", "parameter_groups"]


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two optimizer groups: weights (``dim > 1``) with ``weight_decay``, the rest without."""
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def build_optimizer(
    network: nn.Module, training: TrainingRecipe, regularization: RegularizationRecipe
) -> torch.optim.Optimizer:
    """The optimizer that a recipe asks for, decaying weights only.

    - coupled: g <- g + lambda w before the step, which is the gradient of lambda/2 ||w||^2.
    - decoupled: w <- (1 - lr lambda) w beside the step (Loshchilov & Hutter 2019, algorithm 2).

    For plain SGD both are the same step; with momentum or Adam they differ.
    """
    decoupled = regularization.form == "decoupled"
    groups = parameter_groups(network, regularization.weight_decay)
    if training.optimizer == "adam":
        return torch.optim.Adam(groups, lr=training.lr, decoupled_weight_decay=decoupled)
    sgd = _DecoupledSGD if decoupled else torch.optim.SGD
    return sgd(groups, lr=training.lr, momentum=training.momentum)


class _DecoupledSGD(torch.optim.SGD):
    """SGDW (Loshchilov & Hutter 2019, algorithm 1): the decay does not pass through momentum."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float) -> None:
        # Under a name of its own, so that SGD does not add it to the gradient as well.
        decays = [{"params": g["params"], "decay": g["weight_decay"]} for g in groups]
        super().__init__(decays, lr=lr, momentum=momentum)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Shrink the weights by lr * lambda, then take SGD's own step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["decay"])
        return super().step(closure)
