"""Adam for N networks at once, each with its own learning rate and decay.

Knows one (N, P) matrix of parameters, a row a network. Refuses to know layers.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mcdrop.recipe import Recipe

__all__ = ["Adam"]

_FIRST, _SECOND = 0.9, 0.999  # decay rates of the two moments


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with decoupled or coupled decay.

    Args:
        recipes: N recipes; gives each network's learning rate, lambda and form of decay.
        theta: (N, P) parameters, changed in place.
        decayed: (P,) 1 where decay applies, 0 elsewhere.
        eps: added to the root of the second moment.
    """

    def __init__(
        self, recipes: Sequence[Recipe], theta: Tensor, decayed: Tensor, eps: float
    ) -> None:
        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=theta.device)[:, None]  # (N, 1)

        def decay(*forms: str) -> Tensor:
            terms = [recipe.regularization for recipe in recipes]
            return column([t.weight_decay * (t.form in forms) for t in terms]) * decayed  # (N, P)

        self.steps = 0
        self._theta, self._eps = theta, eps
        self._lr = column([recipe.training.lr for recipe in recipes])
        # The gradient of a penalty is what coupled decay adds.
        self._coupled, self._decoupled = decay("coupled", "penalty"), decay("decoupled")
        self._mean, self._square = torch.zeros_like(theta), torch.zeros_like(theta)

    @torch.no_grad()
    def step(self, gradient: Tensor, factor: float) -> None:
        """Take a step along (N, P) gradients at ``factor`` times each learning rate."""
        self.steps += 1
        lr = self._lr * factor
        gradient.addcmul_(self._coupled, self._theta)
        self._theta.addcmul_(self._decoupled * lr, self._theta, value=-1)
        self._mean.lerp_(gradient, 1 - _FIRST)
        self._square.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        scale = self._square.sqrt().div_(math.sqrt(1 - _SECOND**self.steps)).add_(self._eps)
        self._theta.addcdiv_(self._mean * (lr / (1 - _FIRST**self.steps)), scale, value=-1)
