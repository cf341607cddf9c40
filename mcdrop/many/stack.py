"""N dropout networks of one shape in training: stacked weights, one batched product a layer.

Knows how networks with their own seeds, rates, decay, learning rates and, if asked, rows share
each operation, so that 64 small networks cost a few. Refuses to know when to stop.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from mcdrop.errors import InputError
from mcdrop.many.adam import Adam
from mcdrop.many.bits import Bits
from mcdrop.network import DropoutMLP, build_network
from mcdrop.recipe import Recipe
from mcdrop.schedules import lr_factor

__all__ = ["Many"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Many:
    """N networks in training, each as `mcdrop.training.fit` would train it alone.

    Recipe n decides seed, initial weights, dropout rates, weight decay and learning rate of
    network n, and no network's course depends on its neighbors. Dropout masks come from streams
    of their own; rates are rounded to multiples of 1 / 65536. Regression targets are
    standardized, by each network's own rows.

    Args:
        recipes: N recipes that agree in everything else; the optimizer is Adam, and L2 the only
            regularization beside dropout.
        x: encoded rows (R, D) for all, or (N, R, D) with each network's own.
        y: class indices (R,), or regression targets (R, C); with an axis of networks in front if
            and only if ``x`` has one.
        classes: number of classes; 0 for a regression.
        eps: Adam's epsilon.
        device: where to train.

    Raises:
        InputError: recipes that differ in shape, or ask for what is not trained together; rows of
            the wrong shape.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        x: ArrayLike,
        y: ArrayLike,
        *,
        classes: int = 0,
        eps: float = 1e-8,
        device: str | torch.device = "cpu",
    ) -> None:
        _check(recipes)
        self.recipes = tuple(recipes)
        self._training = recipes[0].training
        self._activation = _ACTIVATIONS[recipes[0].network.activation]
        self._device = torch.device(device)
        self._own = np.ndim(x) == 3
        targets = torch.as_tensor(np.asarray(y))
        self._x = self._rows(x, targets, classes)
        self._mean, self._std = torch.zeros(1), torch.ones(1)
        if not classes:
            std, self._mean = torch.std_mean(targets.double(), -2, correction=0, keepdim=True)
            self._std = torch.where(std > 0, std, 1.0)  # (1, C) or (N, 1, C)
        self._y = self._standardize(targets)
        self._orders = [torch.Generator().manual_seed(recipe.seed) for recipe in recipes]
        width, outputs = self._x.shape[-1], classes or targets.shape[-1]
        self._initial = [
            build_network(recipe.network, width, outputs, generator)
            for recipe, generator in zip(recipes, self._orders, strict=True)
        ]
        vectors = [nn.utils.parameters_to_vector(n.parameters()) for n in self._initial]
        self._theta = torch.stack(vectors).detach().to(self._device)  # (N, P)
        self._leaves = self._views()
        self._bits = self._masks()
        self._adam = Adam(recipes, self._theta, self._decayed(), eps)

    def epoch(self) -> Tensor:
        """Pass over the rows once, in each network's own order; mean training losses (N,)."""
        count, size = self._x.shape[-2], self._training.batch_size
        steps = math.ceil(count / size)
        orders = torch.stack([torch.randperm(count, generator=g) for g in self._orders])  # (N, R)
        total = torch.zeros(len(self.recipes), device=self._device)
        for batch in torch.split(orders.to(self._device), size, dim=1):
            outputs = self._forward(self._pick(self._x, batch), training=True)
            losses = _losses(outputs, self._pick(self._y, batch))
            gradients = torch.autograd.grad(losses.sum(), self._leaves)
            flat = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)  # (N, P)
            self._adam.step(flat, self._factor(steps))
            total += losses.detach() * batch.shape[1]
        return total / count

    @torch.no_grad()
    def loss(self, x: ArrayLike, y: ArrayLike) -> Tensor:
        """Eval-mode losses (N,) on rows of the kind trained on; (B, ...) or (N, B, ...)."""
        targets = torch.as_tensor(np.asarray(y))
        rows = self._rows(x, targets, not targets.is_floating_point())
        truth = self._standardize(targets)
        if not self._own:
            rows, truth = (t.expand(len(self.recipes), *t.shape) for t in (rows, truth))
        return _losses(self._forward(rows, training=False), truth)

    def weight_norms(self) -> Tensor:
        """Euclidean norms (N,) of all weights, biases left out."""
        return (self._theta * self._decayed()).square().sum(1).sqrt()

    def snapshot(self) -> Tensor:
        """A copy of the parameters (N, P), for `networks`."""
        return self._theta.clone()

    @torch.no_grad()
    def networks(self, snapshot: Tensor | None = None) -> tuple[DropoutMLP, ...]:
        """N plain networks in eval mode on the CPU, answering in the targets' own units."""
        theta = (self._theta if snapshot is None else snapshot).cpu()
        width, outputs = self._x.shape[-1], len(cast(nn.Linear, self._initial[0][-1]).bias)
        networks = []
        for n, recipe in enumerate(self.recipes):
            network = build_network(recipe.network, width, outputs, torch.Generator())
            nn.utils.vector_to_parameters(theta[n].clone(), network.parameters())
            last = cast(nn.Linear, network[-1])
            mean, std = (t[n] if self._own else t for t in (self._mean, self._std))
            last.weight.mul_(std.reshape(-1, 1))
            last.bias.copy_(last.bias * std.flatten() + mean.flatten())
            networks.append(network.eval().requires_grad_(False))
        return tuple(networks)

    def _standardize(self, y: Tensor) -> Tensor:
        if y.is_floating_point():
            y = ((y - self._mean) / self._std).float()
        return y.to(self._device)

    def _rows(self, x: ArrayLike, targets: Tensor, classes: int) -> Tensor:
        """``x`` on the device, once its shape and that of its targets are right."""
        rows = torch.as_tensor(np.asarray(x, np.float32))
        axes = (len(self.recipes),) * self._own
        wanted = rows.shape[:-1] if classes else (*rows.shape[:-1], *targets.shape[-1:])
        if rows.dim() != 2 + self._own or rows.shape[:-2] != axes or targets.shape != wanted:
            raise InputError(
                f"got x {tuple(rows.shape)} and y {tuple(targets.shape)} for {len(self.recipes)} "
                "networks: give (R, D) with classes (R,) or targets (R, C), or both with an axis "
                "of networks in front"
            )
        return rows.to(self._device)

    def _pick(self, rows: Tensor, batch: Tensor) -> Tensor:
        """Rows (N, B, ...) at each network's places (N, B)."""
        if self._own:
            batch = batch + torch.arange(len(rows), device=batch.device)[:, None] * rows.shape[1]
            rows = rows.flatten(0, 1)
        return rows[batch]

    def _forward(self, x: Tensor, *, training: bool) -> Tensor:
        """Outputs (N, B, C) of rows (N, B, D)."""
        layers = zip(self._leaves[::2], self._leaves[1::2], self._bits, strict=True)
        for depth, (weights, bias, bits) in enumerate(layers):
            x = self._activation(x) if depth else x
            product = weights.mT  # (N, in, out)
            if training and bits is not None:
                x = x * bits.draw(x.shape[1], x.shape[2])
                product = product * bits.scale  # cheaper than scaling the kept units
            x = torch.baddbmm(bias[:, None], x, product)  # (N, B, out)
        return x

    def _views(self) -> list[Tensor]:
        """Weights (N, out, in) and biases (N, out), in turn: leaves on ``theta``'s memory."""
        leaves, start = [], 0
        for parameter in self._initial[0].parameters():
            block = self._theta[:, start : start + parameter.numel()]
            leaves.append(block.view(-1, *parameter.shape).requires_grad_())
            start += parameter.numel()
        return leaves

    def _masks(self) -> list[Bits | None]:
        """One for the input of each linear layer; None where no network drops."""
        seeds = [recipe.seed for recipe in self.recipes]
        size = self._training.batch_size
        networks = [recipe.network for recipe in self.recipes]
        rates = zip(*((n.input_dropout, *n.rates) for n in networks), strict=True)
        return [
            Bits(seeds, layer, rate, size, self._device) if any(rate) else None
            for layer, rate in enumerate(rates)
        ]

    def _decayed(self) -> Tensor:
        """(P,) 1 for weights, 0 for biases."""
        parts = [
            torch.full((p.numel(),), float(p.dim() > 1)) for p in self._initial[0].parameters()
        ]
        return torch.cat(parts).to(self._device)

    def _factor(self, steps: int) -> float:
        """The schedule's factor for the coming step, of ``steps`` an epoch."""
        training = self._training
        return lr_factor(training.schedule, self._adam.steps, steps * training.epochs)


def _losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean losses (N,) of outputs (N, B, C): of class indices (N, B), or of targets (N, B, C)."""
    if y.is_floating_point():
        return (outputs - y).square().mean((1, 2))
    return F.cross_entropy(outputs.mT, y, reduction="none").mean(1)


def _check(recipes: Sequence[Recipe]) -> None:
    """Recipes agree in what decides a network's shape and steps, and ask for nothing else."""
    if not recipes:
        raise InputError("got no recipe: give one for each network")
    for name, own, common in (
        ("network", {"dropout", "input_dropout", "init", "init_std"}, {"hidden", "activation"}),
        ("regularization", {"weight_decay", "form"}, set()),
        ("training", {"lr", "patience"}, {"batch_size", "epochs", "schedule"}),
    ):
        terms = [getattr(recipe, name) for recipe in recipes]
        plain = type(terms[0])().model_dump(exclude=own | common)
        for term in terms:
            if term.model_dump(include=common) != terms[0].model_dump(include=common):
                raise InputError(
                    f"recipes trained together must agree in {', '.join(sorted(common))}: got "
                    f"[{name}] {term.model_dump(include=common)} and "
                    f"{terms[0].model_dump(include=common)}"
                )
            if other := {
                k: v for k, v in term.model_dump(include=set(plain)).items() if v != plain[k]
            }:
                raise InputError(
                    f"networks cannot be trained together with [{name}] {other}: leave it out, or "
                    "train them one by one"
                )
