"""The part of a layout after the first dropout, as plain linear layers.

Knows which stages are nothing but linear layers and elementwise functions, and says so. Refuses
to know masks and rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mcdrop.plan import ELEMENTWISE, Layout

__all__ = ["Layer", "activate", "deterministic", "linear_layers", "linear_trunk"]


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
        part = _linear(list(stage.body), stage.layer, stage.rate)
        if not part:
            return None
        layers += part
    return tuple(layers) or None


def linear_trunk(layout: Layout) -> tuple[Layer, ...] | None:
    """The trunk of ``layout`` as layers of flat rows; None where it holds anything else."""
    if layout.unknown:  # a subclass of one of these may do something else
        return None
    modules = list(layout.trunk)
    while modules and (
        (isinstance(modules[0], nn.Flatten) and _flattens_all(modules[0]))
        or isinstance(modules[0], nn.Identity)
    ):
        del modules[0]
    if layout.width is None:
        return None
    return _linear(modules, None, 0.0) if modules else ()


def _flattens_all(module: nn.Flatten) -> bool:
    return module.start_dim == 1 and module.end_dim == -1


def _linear(modules: list[nn.Module], dropout: int | None, rate: float) -> tuple[Layer, ...] | None:
    """Linear modules, each with the elementwise ones that follow it; None for anything else."""
    layers = []
    starts = [i for i, module in enumerate(modules) if isinstance(module, nn.Linear)]
    if not starts or starts[0] > 0:
        return None
    for start, stop in zip(starts, [*starts[1:], len(modules)], strict=True):
        linear, rest = modules[start], modules[start + 1 : stop]
        if not isinstance(linear, nn.Linear) or not all(isinstance(m, ELEMENTWISE) for m in rest):
            return None
        live = [module for module in rest if not isinstance(module, nn.Identity)]
        activation = live[0] if len(live) == 1 else nn.Sequential(*live) if live else None
        weight = linear.weight.detach()
        bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach()
        layers.append(Layer(dropout, rate, weight, bias, activation))
        dropout, rate = None, 0.0
    return tuple(layers)


def deterministic(layers: Sequence[Layer], hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Run layers without dropout.

    Args:
        layers: the network after its trunk.
        hidden: (B, I), what the trunk made of the rows.

    Returns:
        The first layer without its bias, (B, O), and the outputs, (B, C).
    """
    linear = nn.functional.linear(hidden, layers[0].weight)
    state = activate(layers[0].activation, linear + layers[0].bias)
    for layer in layers[1:]:
        state = nn.functional.linear(state, layer.weight, layer.bias)
        state = activate(layer.activation, state)
    return linear, state


def activate(activation: nn.Module | None, state: Tensor) -> Tensor:
    """Apply an elementwise module, in place where that is simple."""
    if activation is None:
        return state
    if type(activation) is nn.ReLU:
        if state.dtype == torch.bfloat16:  # the sign bit is the integer's: five times as fast
            state.view(torch.int16).clamp_(min=0)
            return state
        return state.relu_()
    result: Tensor = activation(state)
    return result
