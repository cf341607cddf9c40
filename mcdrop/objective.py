"""What training minimizes: the loss of a network's outputs, and the unit targets are learned in.

Knows cross-entropy, squared error and the likelihood of a learned variance, each as a mean over
rows. Refuses to know optimization and regularization.
"""

from collections.abc import Mapping
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mcdrop.errors import InputError
from mcdrop.recipe import Recipe

__all__ = ["Objective", "Targets", "beta_nll", "class_weights"]


class Objective:
    """The loss that a recipe asks for, in two versions.

    `training` is minimized; `held_out` is what stopping and the history judge by, without label
    smoothing and without beta: the cross-entropy (with the class weights), the mean squared error
    or the Gaussian negative log-likelihood up to its constant.

    Args:
        recipe: task, label smoothing, class weights, variance and beta.
        classes: labels by index; none for a regression.
        y: the training targets, from which balanced class weights are taken.
        device: where outputs will be.
    """

    def __init__(
        self, recipe: Recipe, classes: tuple[str, ...], y: NDArray[np.int64], device: torch.device
    ) -> None:
        training = recipe.training
        self._classes = bool(classes)
        self._learned = recipe.network.variance == "learned"
        self._beta, self._smoothing = training.beta, training.label_smoothing
        weights = class_weights(training.class_weights, classes, y)
        self._weights = None if weights is None else weights.to(device)

    def training(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Loss of outputs (B, C) and targets (B,) or (B, C), as a mean over rows: ()."""
        return self._loss(outputs, y, self._smoothing, self._beta)

    def held_out(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The same, as rows kept out of training are judged."""
        return self._loss(outputs, y, 0.0, 0.0)

    def _loss(self, outputs: Tensor, y: Tensor, smoothing: float, beta: float) -> Tensor:
        if self._classes:
            return F.cross_entropy(outputs, y, self._weights, label_smoothing=smoothing)
        if self._learned:
            mean, log_variance = outputs.chunk(2, dim=1)  # (B, C) each
            return beta_nll(mean, log_variance, y, beta)
        return F.mse_loss(outputs, y)


def beta_nll(mean: Tensor, log_variance: Tensor, y: Tensor, beta: float) -> Tensor:
    """Mean of v^beta ((y - mean)^2 / v + log v) / 2, the power without gradient; all (B, C).

    beta = 0 is the Gaussian negative log-likelihood without its constant; beta = 1 gives the mean
    the gradients of squared error; 0.5 keeps both fits good (Seitzer et al. 2022, eq. 5).
    """
    nll = ((y - mean).square() * torch.exp(-log_variance) + log_variance) / 2
    return (torch.exp(beta * log_variance.detach()) * nll).mean()


def class_weights(
    wanted: Literal["balanced"] | Mapping[str, float] | None,
    classes: tuple[str, ...],
    y: NDArray[np.int64],
) -> Tensor | None:
    """The weight of each class, (C,); None for all alike.

    "balanced" is n / (C n_c), so that every class weighs the same in all and rows weigh 1 on
    average. Losses are divided by the batch's sum of weights.

    Raises:
        InputError: a label is not among ``classes``, or no class has a weight above 0.
    """
    if wanted is None or not classes:
        return None
    if wanted == "balanced":
        counts = np.bincount(y, minlength=len(classes))
        return torch.from_numpy(len(y) / (len(classes) * counts)).float()
    strange = [label for label in wanted if label not in classes]
    if strange:
        raise InputError(
            f"class_weights names {strange[0]!r}, which is no class: wanted some of "
            f"{', '.join(classes)}"
        )
    weights = torch.tensor([wanted.get(label, 1.0) for label in classes])
    if not weights.any():
        raise InputError("class_weights are all 0: give some class a weight above 0")
    return weights


_OFFSET = 1e5


class Targets:
    """The unit that regression targets (B, C) are learned in.

    Standardized by the training rows, so that a learning rate suits targets of any unit; or as
    they are.
    """

    def __init__(self, y: NDArray[np.float64], *, standardize: bool = True) -> None:
        spread = y.std(0)
        self.mean = torch.from_numpy(y.mean(0) if standardize else np.zeros(y.shape[1]))
        usable = standardize & (spread > 0)
        if (usable & (np.abs(y.mean(0)) > _OFFSET * spread)).any():
            raise InputError(
                f"a target's mean is more than {_OFFSET:.0e} times its spread, too far off for "
                "float32: subtract a constant from the target column, and add it to the answers"
            )
        self.std = torch.from_numpy(np.where(usable, spread, 1.0))

    def encode(self, y: NDArray[np.float64]) -> Tensor:
        """(y - mean) / std, float32."""
        return ((torch.from_numpy(y) - self.mean) / self.std).float()

    @torch.no_grad()
    def fold_into(self, network: nn.Sequential) -> None:
        """Make the last layer answer in the targets' unit: w <- std w, b <- std b + mean.

        Logarithms of variances, which follow the means where they are learned, move by 2 log std.
        """
        last, outputs = cast(nn.Linear, network[-1]), len(self.mean)
        last.weight[:outputs].mul_(self.std[:, None])
        last.bias[:outputs] = last.bias[:outputs] * self.std + self.mean
        if last.out_features > outputs:
            last.bias[outputs:] += 2 * torch.log(self.std)
