"""A dropout network taken apart: a trunk that runs once, then stages that each pass runs.

Knows which modules are deterministic in eval form and which drop units. Refuses to know seeds,
masks and statistics. A module whose randomness cannot be seen is refused by name.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mcdrop.errors import NetworkError

__all__ = ["ELEMENTWISE", "Layout", "Stage", "read_layout", "stamp"]

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink,
    nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip

_SEEN: tuple[type[nn.Module], ...] = (
    *ELEMENTWISE,
    nn.Linear, nn.PReLU, nn.LogSoftmax, nn.Flatten, nn.Unflatten,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm,
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d,
)  # fmt: skip


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
        width: features a row must have, if the first modules tell.
        outputs: outputs of the network, if the last modules tell.
        dtype: what rows are computed in.
        device: where.
    """

    trunk: nn.Sequential
    stages: tuple[Stage, ...]
    width: int | None
    outputs: int | None
    dtype: torch.dtype
    device: torch.device


def stamp(network: nn.Module) -> tuple[tuple[int, int], ...]:
    """What changes when a weight or buffer is changed in place or replaced.

    Changes through ``tensor.data`` leave no trace in PyTorch and are not seen.
    """
    return tuple(
        (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        for tensor in (*network.parameters(), *network.buffers())
    )


def read_layout(network: nn.Module) -> Layout:
    """Take ``network`` apart into a trunk and stages; it is copied, never changed.

    Raises:
        NetworkError: ``network`` is not an ``nn.Sequential``, or holds a module whose randomness
            cannot be seen; the message names it.
    """
    if not isinstance(network, nn.Sequential):
        raise NetworkError(
            f"got a {type(network).__name__}, wanted an nn.Sequential (or a subclass that keeps "
            "its forward): wrap the modules in one, dropouts as modules of their own"
        )
    leaves = list(_leaves(network, type(network).__name__))
    for name, module in leaves:
        _check(name, module)
    modules = [module for _, module in leaves]
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
        _width(modules),
        _outputs(modules),
        dtype,
        tensors[0].device if tensors else torch.device("cpu"),
    )


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules of nested sequences in order, with the names users know them by."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        if module._forward_hooks or module._forward_pre_hooks:
            yield name, module
        for key, child in module.named_children():
            yield from _leaves(child, f"{name}.{key}")
    else:
        yield name, module


def _check(name: str, module: nn.Module) -> None:
    """Refuse what cannot be seen through."""
    kind = type(module)
    known = next((seen for seen in (*_SEEN, nn.Dropout) if isinstance(module, seen)), None)
    what = f"{name} is a {kind.__name__}"
    if known is None or kind.forward is not known.forward:
        raise NetworkError(
            f"{what}, whose randomness cannot be seen: use Linear, activations, normalizations, "
            "Flatten and nn.Dropout, each a module of the nn.Sequential"
        )
    if module._forward_hooks or module._forward_pre_hooks:
        raise NetworkError(f"{what} with forward hooks, which cannot be seen through: remove them")
    if isinstance(module, nn.Dropout) and not 0.0 <= module.p < 1.0:
        raise NetworkError(f"{what} of rate {module.p}, wanted 0 <= rate < 1: nothing is left")
    batch_norm = isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))
    if batch_norm and module.running_mean is None:
        raise NetworkError(
            f"{what} without running statistics, so a row's answer would depend on its neighbors: "
            "give it track_running_stats=True"
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


def run(body: nn.Sequential, rows: Tensor) -> Tensor:
    """The modules of ``body`` one after another."""
    output: Tensor = body(rows)
    return output
