"""A dropout network taken apart: a trunk that runs once, then stages that each pass runs.

Knows which modules are deterministic in eval form and which drop units. Refuses to know seeds,
masks and statistics. A module whose randomness cannot be seen is refused by name; before the first
dropout any module will do that draws no random numbers when it is tried in train mode.
"""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mcdrop.chain import unroll
from mcdrop.errors import NetworkError

__all__ = [
    "ELEMENTWISE",
    "SEEN",
    "Layout",
    "Stage",
    "Stamp",
    "known",
    "leaves",
    "read_layout",
    "sequence",
    "try_trunk",
]

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink,
    nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip

SEEN: tuple[type[nn.Module], ...] = (
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


_places = itemgetter("_parameters", "_buffers", "_modules")


class Stamp:
    """What changes when a weight, buffer, dropout rate or module is changed or replaced.

    Changes through ``tensor.data``, or through an array that shares memory, leave no trace in
    PyTorch and are not seen. Every answer asks, so where to look is found in advance.

    Args:
        network: as it is now.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = self._modules = [network]  # held, and all in them: their ids stay theirs
        for module in modules:
            modules += [child for child in module._modules.values() if child is not None]
        tensors = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values())]
        self._tensors = [tensor for tensor in tensors if tensor is not None]
        self._memory = [tensor.detach() for tensor in self._tensors]  # no address is used again
        self._counting = [tensor for tensor in self._tensors if not tensor.is_inference()]
        self._own = [module.__dict__ for module in modules]
        self._rates = [own for own in self._own if "p" in own]
        self._seen = self._look()

    def fits(self, network: nn.Module) -> bool:
        """Whether ``network`` is the same, and all in it as it was."""
        return network is self._modules[0] and self._look() == self._seen

    def _look(self) -> tuple[list[Any], ...]:
        return (
            [
                id(value)
                for own in self._own
                for place in _places(own)  # asked anew: PyTorch replaces some dictionaries
                if place
                for value in place.values()
            ],
            [tensor.data_ptr() for tensor in self._tensors],
            [tensor._version for tensor in self._counting],
            [own.get("p") for own in self._rates],
        )


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
            _check(name, module)
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


def sequence(network: nn.Module) -> nn.Sequential:
    """``network`` itself if it is an ``nn.Sequential`` that can be seen through, else one like it.

    Modules of the user's own are unrolled (`mcdrop.chain`), so that dropouts in them are seen.

    Raises:
        NetworkError: it is no ``nn.Sequential``, and its forward is no chain, or has hooks.
    """
    if isinstance(network, nn.Sequential) and _runs_in_order(network):
        if not any(_closed(network)):
            return network
        with contextlib.suppress(NetworkError):
            unrolled = unroll(network, lambda module: known(module) is not None)
            return network if any(_closed(unrolled)) else unrolled
        return network  # what cannot be seen is refused under its own name
    if network._forward_hooks or network._forward_pre_hooks:
        raise NetworkError(
            f"{type(network).__name__} has forward hooks, which cannot be seen through: remove them"
        )
    return unroll(network, lambda module: known(module) is not None)


def _runs_in_order(module: nn.Module) -> bool:
    return type(module).forward is nn.Sequential.forward


def _closed(network: nn.Sequential) -> Iterator[bool]:
    """For each module, whether it holds dropouts, or stands after one, without being known."""
    after = False
    for _, module in leaves(network, ""):
        drops = any(isinstance(each, nn.Dropout) for each in module.modules())
        after |= drops
        yield after and known(module) is None


def leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules of nested sequences in order, with the names users know them by."""
    if isinstance(module, nn.Sequential) and _runs_in_order(module):
        if module._forward_hooks or module._forward_pre_hooks:
            yield name, module
        for key, child in module._modules.items():  # named_children() leaves repeated ones out
            if child is not None:
                yield from leaves(child, f"{name}.{key}")
    else:
        yield name, module


def known(module: nn.Module) -> type[nn.Module] | None:
    """The class whose forward ``module`` runs, if it is one that can be seen through."""
    for seen in (*SEEN, nn.Dropout):
        own = getattr(type(module), "forward", None)
        if isinstance(module, seen) and own is getattr(seen, "forward", None):
            return seen
    return None


def _check(name: str, module: nn.Module) -> None:
    """Refuse what cannot be seen through."""
    what = f"{name} is a {type(module).__name__}"
    if known(module) is None:
        if isinstance(module, nn.Softmax):
            raise NetworkError(f"{what}: leave it out, so that the network ends in logits")
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


class _RandomNumbersError(Exception):
    """A module drew random numbers."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Stops at the first operation that draws random numbers."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        settings = [arg for arg in args if isinstance(arg, (bool, float))]
        idle = not all(settings)  # a dropout of rate 0, or one that is told not to train
        if torch.Tag.nondeterministic_seeded in func.tags and not idle:
            raise _RandomNumbersError(str(func))
        return func(*args, **(kwargs or {}))


def try_trunk(layout: Layout, rows: Tensor) -> None:
    """Try the trunk's unknown modules in train mode, where hidden dropouts would draw.

    Args:
        layout: the network; copies of its modules are tried, it stays as it is.
        rows: (B, ...), rows as the network takes them, B >= 2 for the sake of batch normalization.

    Raises:
        NetworkError: one of them draws random numbers; the message names it.
    """
    with torch.inference_mode(False), torch.no_grad():
        state = rows.clone()
        for i, module in enumerate(layout.trunk):
            try:
                if i in layout.unknown:
                    with _Watch():  # type: ignore[no-untyped-call]
                        copy.deepcopy(module).train()(state)
            except _RandomNumbersError as error:
                raise NetworkError(
                    f"{layout.unknown[i]} is a {type(module).__name__} that draws random numbers "
                    f"in train mode ({error}): its dropout cannot be seen; make its dropouts "
                    "modules of the nn.Sequential, or set their rate to 0"
                ) from None
            state = module(state)
