"""What keeps weights small: L2 in three forms, L1, elastic net and max-norm; and the optimizers.

Knows that weights (parameters with more than one dimension) are penalized and that biases and
normalization gains are not, unless asked. Refuses to know the network's shape. Strengths are
stated for a loss that is the mean over the batch; they are never divided by the number of rows.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mcdrop.errors import InputError
from mcdrop.recipe import RegularizationRecipe, TrainingRecipe

__all__ = ["Regularizer", "build_optimizer", "parameter_groups"]


class Regularizer:
    """The part of a recipe's regularization that the optimizer does not do itself.

    - A term of the loss: l1 sum |w|, and lambda/2 ||w||^2 where L2 has the form "penalty". With
      both strengths above 0 this is the elastic net (Zou & Hastie 2005).
    - Proximal L1 instead: w <- sign(w) max(|w| - lr l1, 0) after each step. For plain SGD this is
      proximal gradient descent (ISTA; Beck & Teboulle 2009, eq. 1.4), whose limit is the minimum
      of loss + l1 sum |w|; beside Adam it is decoupled, as decoupled decay is. Zeros are exact.
    - Max-norm: the weights into a unit are scaled back to length ``max_norm`` after each step.

    Args:
        network: whose parameters to regularize; they are looked up once.
        recipe: forms and strengths.
    """

    def __init__(self, network: nn.Module, recipe: RegularizationRecipe) -> None:
        self._recipe = recipe
        self._weights = [p for p in network.parameters() if p.dim() > 1]
        self._penalized = list(network.parameters()) if recipe.biases else self._weights

    def penalty(self) -> Tensor | None:
        """The term to add to the loss, (); None where there is none."""
        recipe = self._recipe
        terms = []
        if recipe.form == "penalty" and recipe.weight_decay:
            terms += [recipe.weight_decay / 2 * w.square().sum() for w in self._penalized]
        if recipe.l1 and not recipe.proximal:
            terms += [recipe.l1 * w.abs().sum() for w in self._penalized]
        return torch.stack(terms).sum() if terms else None

    @torch.no_grad()
    def after_step(self, lr: float) -> None:
        """Change the weights after an optimizer step of learning rate ``lr``."""
        recipe = self._recipe
        if recipe.l1 and recipe.proximal:
            for weight in self._penalized:
                weight.copy_(nn.functional.softshrink(weight, lr * recipe.l1))
        if recipe.max_norm is not None:
            for weight in self._weights:
                weight.copy_(torch.renorm(weight, 2, 0, recipe.max_norm))


def parameter_groups(
    network: nn.Module, weight_decay: float, *, biases: bool = False
) -> list[dict[str, Any]]:
    """Two optimizer groups: weights (``dim > 1``) with ``weight_decay``, the rest without.

    With ``biases`` both decay.
    """
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": weight_decay if biases else 0.0},
    ]


def build_optimizer(
    network: nn.Module, training: TrainingRecipe, regularization: RegularizationRecipe
) -> torch.optim.Optimizer:
    """The optimizer that a recipe asks for.

    - coupled: g <- g + lambda w before the step, which is the gradient of lambda/2 ||w||^2.
    - decoupled: w <- (1 - lr lambda) w beside the step (Loshchilov & Hutter 2019, algorithm 2).
    - penalty: no decay here; `Regularizer.penalty` is the term of the loss.

    For plain SGD all three are the same step. Coupled decay and the penalty are the same gradient
    under every optimizer, unless gradients are clipped: the penalty's share is clipped with the
    rest, coupled decay is added afterwards. With momentum or Adam, decoupled decay differs.

    Raises:
        InputError: "adamw" is asked for a form that it does not have.
    """
    form, decay = regularization.form, regularization.weight_decay
    if training.optimizer == "adamw" and form != "decoupled":
        raise InputError(f"optimizer 'adamw' has no form {form!r}: use 'adam', or 'decoupled'")
    strength = 0.0 if form == "penalty" else decay
    groups = parameter_groups(network, strength, biases=regularization.biases)
    if training.optimizer != "sgd":
        # One kernel for all parameters, where the device has it.
        fused = all(p.device.type in {"cpu", "cuda"} for p in network.parameters())
        return torch.optim.Adam(
            groups, lr=training.lr, decoupled_weight_decay=form == "decoupled", fused=fused
        )
    sgd = _DecoupledSGD if form == "decoupled" else torch.optim.SGD
    return sgd(groups, lr=training.lr, momentum=training.momentum, nesterov=training.nesterov)


class _DecoupledSGD(torch.optim.SGD):
    """SGDW (Loshchilov & Hutter 2019, algorithm 1): the decay does not pass through momentum."""

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, momentum: float, nesterov: bool
    ) -> None:
        # Under a name of its own, so that SGD does not add it to the gradient as well.
        decays = [{"params": g["params"], "decay": g["weight_decay"]} for g in groups]
        super().__init__(decays, lr=lr, momentum=momentum, nesterov=nesterov)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Shrink the weights by lr * lambda, then take SGD's own step."""
        for group in self.param_groups:
            if group["decay"]:
                factor = 1 - group["lr"] * group["decay"]
                torch._foreach_mul_(group["params"], factor)
        return super().step(closure)
