"""Modules: which can be seen through, and what a user's network is in a row of them."""

import contextlib
from collections.abc import Iterator

from torch import nn

from mcdrop.chain import unroll
from mcdrop.errors import NetworkError

__all__ = ["ELEMENTWISE", "SEEN", "check", "known", "leaves", "sequence"]

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


def sequence(network: nn.Module) -> nn.Sequential:
    """``network`` itself if it is an ``nn.Sequential`` that can be seen through, else one like it.

    Modules of the user's own are unrolled (`mcdrop.chain`), so that dropouts in them are seen; what
    compiles a network or spreads its rows over devices is taken off.

    Raises:
        NetworkError: it is no ``nn.Sequential``, and its forward is no chain, or has hooks.
    """
    network = _unwrapped(network)
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


def _unwrapped(network: nn.Module) -> nn.Module:
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(network.module)
    within = getattr(network, "_orig_mod", None)  # of torch.compile
    return _unwrapped(within) if isinstance(within, nn.Module) else network


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


def check(name: str, module: nn.Module) -> None:
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
