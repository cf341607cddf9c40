"""The part of a layout after the first dropout, as plain linear layers.

Knows which stages are nothing but linear layers and elementwise functions, and says so. Refuses
to know masks and rows.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from mcdrop.plan import ELEMENTWISE, Layout

__all__ = ["Layer", "linear_layers"]


@dataclass(frozen=True)
class Layer:
    """Drop units of the input, apply a linear map, then an elementwise function.

    Attributes:
        dropout: index of the dropout in the network; None where nothing is dropped.
        rate: probability of dropping an input unit.
        weight: (O, I).
        bias: (O,).
        activation: what follows; None for the identity.
    """

    dropout: int | None
    rate: float
    weight: Tensor
    bias: Tensor
    activation: nn.Module | None


def linear_layers(layout: Layout) -> tuple[Layer, ...] | None:
    """The stages of ``layout`` as layers; None where they hold anything else."""
    layers: list[Layer] = []
    for stage in layout.stages:
        dropout, rate = stage.layer, stage.rate
        modules = list(stage.body)
        if not modules or not isinstance(modules[0], nn.Linear):
            return None
        starts = [i for i, module in enumerate(modules) if isinstance(module, nn.Linear)]
        for start, stop in zip(starts, [*starts[1:], len(modules)], strict=True):
            linear, rest = modules[start], modules[start + 1 : stop]
            if not all(isinstance(module, ELEMENTWISE) for module in rest):
                return None
            live = [module for module in rest if not isinstance(module, nn.Identity)]
            activation = live[0] if len(live) == 1 else nn.Sequential(*live) if live else None
            layers.append(_layer(dropout, rate, linear, activation))
            dropout, rate = None, 0.0
    return tuple(layers) or None


def _layer(
    dropout: int | None, rate: float, linear: nn.Module, activation: nn.Module | None
) -> Layer:
    weight, bias = linear.weight.detach(), linear.bias
    bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
    return Layer(dropout, rate, weight, bias, activation)
