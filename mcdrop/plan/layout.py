"""Layouts: a trunk that runs once, then stages that each pass runs."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from mcdrop.plan.modules import ELEMENTWISE, check, known, leaves, sequence

__all__ = ["Layout", "Stage", "read_layout"]


@dataclass(frozen=True)
class Stage:
    """A dropout and the modules after it, up to the next one.

    Attributes:
        layer: index of the dropout in the network, counting dropouts whose rate is 0 too.
        rate: probability of dropping a unit, 0 < rate < 1.
        body: the modules, in eval form.
    """

    layer: int
    rate: float
    body: nn.Sequential


@dataclass(frozen=True)
class Layout:
    """A snapshot of a network: copies in eval form, which nobody else holds.

    Attributes:
        trunk: the modules before the first dropout.
        stages: the dropouts and what follows them.
        unknown: places and names of the trunk's modules that `try_trunk` has to try.
        width: features a row must have, if the first modules tell.
        outputs: outputs of the network, if the last modules tell.
        dtype: what rows are computed in.
        device: where.
    """

    trunk: nn.Sequential
    stages: tuple[Stage, ...]
    unknown: dict[int, str]
    width: int | None
    outputs: int | None
    dtype: torch.dtype
    device: torch.device


def read_layout(network: nn.Module) -> Layout:
    """Take ``network`` apart into a trunk and stages; it is copied, never changed.

    Raises:
        NetworkError: ``network`` is no chain of modules, or holds one whose randomness cannot be
            seen; the message names it.
    """
    named = list(leaves(sequence(network), type(network).__name__))
    modules = [module for _, module in named]
    drops = [i for i, module in enumerate(modules) if isinstance(module, nn.Dropout) and module.p]
    unknown = {}
    for i, (name, module) in enumerate(named):
        if drops and i < drops[0] and known(module) is None:
            unknown[i - sum(isinstance(m, nn.Dropout) for m in modules[:i])] = name
        else:
            check(name, module)
    groups: list[list[nn.Module]] = [[]]
    dropouts: list[tuple[int, float]] = []
    layer = 0
    for module in modules:
        if not isinstance(module, nn.Dropout):
            groups[-1].append(copy.deepcopy(module).eval().requires_grad_(False))
            continue
        if module.p > 0:
            dropouts.append((layer, float(module.p)))
            groups.append([])
        layer += 1
    bodies = [nn.Sequential(*group) for group in groups]
    tensors = [tensor for tensor in network.parameters() if tensor.is_floating_point()]
    double = any(tensor.dtype == torch.float64 for tensor in tensors)
    dtype = torch.float64 if double else torch.float32
    return Layout(
        bodies[0].to(dtype),
        tuple(
            Stage(layer, rate, body.to(dtype))
            for (layer, rate), body in zip(dropouts, bodies[1:], strict=True)
        ),
        unknown,
        _width(modules),
        _outputs(modules),
        dtype,
        tensors[0].device if tensors else torch.device("cpu"),
    )


def _width(modules: list[nn.Module]) -> int | None:
    """Features of an input row, where the first layer is linear."""
    for module in modules:
        if isinstance(module, nn.Linear):
            return module.in_features
        if not isinstance(module, (nn.Flatten, nn.Dropout, *ELEMENTWISE)):
            return None
    return None


def _outputs(modules: list[nn.Module]) -> int | None:
    """Outputs of the network, where the last layer is linear."""
    for module in reversed(modules):
        if isinstance(module, nn.Linear):
            return module.out_features
        if not isinstance(module, (nn.LogSoftmax, nn.Flatten, nn.Dropout, *ELEMENTWISE)):
            return None
    return None
