"""An approximation without sampling: means and variances carried through the layers.

Knows linear layers, ReLU and dropout. Refuses to know seeds, and to be mistaken for the posterior:
its numbers are not those of infinitely many passes, but those of units that are independent of
each other and Gaussian before each ReLU (Frey & Hinton 1999; Gast & Roth 2018, eq. 8-9). For one
linear layer it is exact. Beyond that it errs, and most where units share what was dropped before
them; ``python -m benchmarks.moments`` says by how much.
"""

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from mcdrop.engine.layers import Layer, linear_layers, linear_trunk
from mcdrop.engine.rows import checked
from mcdrop.engine.tally import numpy64
from mcdrop.errors import NetworkError
from mcdrop.plan import read_layout
from mcdrop.uncertainty import Array

__all__ = ["propagate_moments"]


@torch.inference_mode()
def propagate_moments(network: nn.Module, x: ArrayLike | Tensor) -> tuple[Array, Array]:
    """Approximate the mean and variance of the outputs over dropout masks, without sampling.

    A unit of mean m and variance v that is dropped at rate p has mean m and variance
    (v + p m^2) / (1 - p) afterwards; a linear layer maps means by W, variances by W^2; a ReLU of a
    Gaussian has the moments of the rectified Gaussian.

    Args:
        network: ``nn.Sequential`` of linear, ReLU, flatten and dropout modules.
        x: (B, D), rows.

    Returns:
        Mean and variance (B, C) of the network's outputs: logits of a classification.

    Raises:
        InputError: ``x`` has the wrong shape, or a row that is not finite.
        NetworkError: the network holds another kind of module.
    """
    layout = read_layout(network)
    trunk, stages = linear_trunk(layout), linear_layers(layout) if layout.stages else ()
    layers = None if trunk is None or stages is None else (*trunk, *stages)
    if layers is None or not all(
        layer.activation is None or type(layer.activation) is nn.ReLU for layer in layers
    ):
        raise NetworkError(
            "moments are known of linear, ReLU, flatten and dropout modules only: sample the "
            "posterior of other networks"
        )
    mean = checked(x, layout).to(layout.device, torch.float64)
    variance = torch.zeros_like(mean)
    for layer in layers:
        mean, variance = _linear(layer, mean, variance)
        if layer.activation is not None:
            mean, variance = _rectified(mean, variance)
    return numpy64(mean), numpy64(variance)


def _linear(layer: Layer, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    weight, bias = layer.weight.double(), layer.bias.double()
    dropped = (variance + layer.rate * mean.square()) / (1.0 - layer.rate)
    return mean @ weight.T + bias, dropped @ weight.square().T  # (B, O) each


def _rectified(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Moments of max(0, z), z Gaussian; where the variance is 0, of max(0, mean)."""
    spread = variance.sqrt().clamp(min=1e-150)
    z = mean / spread
    above = torch.special.ndtr(z)  # probability of z > 0
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
    first = mean * above + spread * density
    second = (mean.square() + variance) * above + mean * spread * density
    return first, (second - first.square()).clamp(min=0.0)
