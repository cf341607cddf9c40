"""A module's forward unrolled into a chain of modules, where it is one.

Knows ``torch.fx``, and which functions are modules by another name. Refuses to know what a chain is
for. Sums, branches and arguments beside the rows make no chain: the message names the first.
"""

import copy
import operator
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from mcdrop.errors import NetworkError

__all__ = ["unroll"]

_POOL = ("kernel_size", "stride", "padding")
_MAX_POOL = (*_POOL, "dilation", "ceil_mode")

# Functions, and methods of tensors by name, with the names of their arguments after the rows.
_MODULES: dict[Any, tuple[type[nn.Module], tuple[str, ...]]] = {
    **dict.fromkeys((F.relu, torch.relu, "relu"), (nn.ReLU, ())),
    **dict.fromkeys((F.tanh, torch.tanh, "tanh"), (nn.Tanh, ())),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid"), (nn.Sigmoid, ())),
    F.gelu: (nn.GELU, ("approximate",)),
    F.silu: (nn.SiLU, ()),
    F.mish: (nn.Mish, ()),
    F.elu: (nn.ELU, ("alpha",)),
    F.selu: (nn.SELU, ()),
    F.leaky_relu: (nn.LeakyReLU, ("negative_slope",)),
    F.softplus: (nn.Softplus, ("beta", "threshold")),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, "log_softmax"), (nn.LogSoftmax, ("dim",))),
    **dict.fromkeys((F.softmax, torch.softmax, "softmax"), (nn.Softmax, ("dim",))),
    **dict.fromkeys((torch.flatten, "flatten"), (nn.Flatten, ("start_dim", "end_dim"))),
    F.max_pool1d: (nn.MaxPool1d, _MAX_POOL),
    F.max_pool2d: (nn.MaxPool2d, _MAX_POOL),
    F.avg_pool1d: (nn.AvgPool1d, _POOL),
    F.avg_pool2d: (nn.AvgPool2d, _POOL),
    F.adaptive_avg_pool2d: (nn.AdaptiveAvgPool2d, ("output_size",)),
    F.adaptive_max_pool2d: (nn.AdaptiveMaxPool2d, ("output_size",)),
}
_SIZES = {"size", "dim"}  # methods that tell of rows, for a later reshape


def unroll(network: nn.Module, leaf: Callable[[nn.Module], bool]) -> nn.Sequential:
    """The chain of modules that ``network``'s forward calls, one after the other.

    Functions such as ``F.relu`` and ``F.dropout`` become modules; modules of the user's own are
    looked into, and where that makes no chain, those without a dropout are taken whole.

    Args:
        network: in any mode; a copy of it is traced.
        leaf: which modules are not looked into.

    Raises:
        NetworkError: it is no chain, or another one in eval mode by more than its dropouts.
    """
    copied = copy.deepcopy(network).train()  # where F.dropout is told whether it is training
    try:
        return _both(copied, leaf)
    except NetworkError as error:
        try:
            return _both(copied, lambda module: leaf(module) or not _drops(module))
        except NetworkError:
            raise error from None


def _both(network: nn.Module, leaf: Callable[[nn.Module], bool]) -> nn.Sequential:
    """The chain in train mode, once that in eval mode has turned out to be the same."""
    chain, plain = _chain(network.train(), leaf), _chain(network.eval(), leaf)
    if _lasting(chain, network) != _lasting(plain, network):
        raise NetworkError(
            f"{type(network).__name__}.forward does something else in eval mode than to leave "
            "its dropouts out: which of the two is wanted cannot be known; do the same in both"
        )
    return chain.train()


def _lasting(chain: nn.Sequential, network: nn.Module) -> list[nn.Module | str]:
    """What there is beside dropouts: modules of the network, functions by their arguments."""
    own = set(network.modules())
    lasting = (each for each in chain if not isinstance(each, nn.Dropout | nn.Identity))
    return [each if each in own else repr(each) for each in lasting]


def _drops(module: nn.Module) -> bool:
    return any(isinstance(each, nn.modules.dropout._DropoutNd) for each in module.modules())


class _Tracer(fx.Tracer):
    def __init__(self, leaf: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self._leaf = leaf

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return self._leaf(m) or super().is_leaf_module(m, module_qualified_name)


def _chain(network: nn.Module, leaf: Callable[[nn.Module], bool]) -> nn.Sequential:
    name = type(network).__name__
    try:
        graph = _Tracer(leaf).trace(network)
    except Exception as error:  # whatever the user's forward makes of rows that are not there
        raise NetworkError(
            f"{name}.forward cannot be followed ({str(error).splitlines()[0]}): wrap its modules "
            "in an nn.Sequential, dropouts as modules of their own"
        ) from None
    found: OrderedDict[str, nn.Module] = OrderedDict()
    rows: fx.Node | None = None  # what the chain has arrived at
    for node in graph.nodes:
        if node.op == "placeholder" and rows is None:
            rows = node
        elif node.op == "output" and node.args[0] is rows:
            return nn.Sequential(found)
        elif _is_size(node):
            continue
        else:
            module = _module(node, network) if _takes(node, rows) else None
            if module is None:
                raise NetworkError(
                    f"{name}.forward is no chain of modules at {node.name!r}: what has sums or "
                    "branches can stand before the first dropout, as a module without dropout"
                )
            found[node.name] = module
            rows = node
    raise NetworkError(f"{name}.forward returns something else than its last rows")


def _is_size(node: fx.Node) -> bool:
    """Whether a node only tells of the rows' shape."""
    if node.op == "call_method":
        return node.target in _SIZES
    return node.op == "call_function" and (
        (node.target is getattr and node.args[1] in {"shape", "ndim"})
        or (node.target is operator.getitem and _is_size(node.args[0]))  # type: ignore[arg-type]
    )


def _takes(node: fx.Node, rows: fx.Node | None) -> bool:
    """Whether a node takes the rows first, and no other values."""
    rest = [each for each in node.all_input_nodes if each is not rows and not _is_size(each)]
    return not rest and bool(node.args) and node.args[0] is rows


def _module(node: fx.Node, network: nn.Module) -> nn.Module | None:
    """The module that does what a node does; None where there is none."""
    if node.op == "call_module":
        alone = len(node.args) == 1 and not node.kwargs
        return network.get_submodule(str(node.target)) if alone else None
    make = _SPECIAL.get(node.target)
    return make(node) if make else _named(node)


def _named(node: fx.Node) -> nn.Module | None:
    if node.target not in _MODULES:
        return None
    kind, names = _MODULES[node.target]
    given = _given(node, names)
    if kind is nn.Flatten and given.get("start_dim", 0) == 0:
        return None  # rows would be mixed
    return kind(**{key: value for key, value in given.items() if key in names})


def _given(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    """A node's arguments after the rows, by name, but those that are None."""
    given = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
    return {key: value for key, value in given.items() if value is not None}


def _dropout(node: fx.Node) -> nn.Module:
    given = _given(node, ("p", "training"))
    return nn.Dropout(given.get("p", 0.5)) if given.get("training", True) else nn.Identity()


def _reshaped(node: fx.Node) -> nn.Module | None:
    """``view(rows, ...)``: all but the first axis flattened, then parted as it says."""
    first, *shape = node.args[1] if isinstance(node.args[1], tuple | list) else node.args[1:]
    sizes = tuple(size for size in shape if isinstance(size, int))
    each = first == -1 or isinstance(first, fx.Node)  # each row for itself
    if not each or not sizes or len(sizes) != len(shape):
        return None
    flat = nn.Flatten()
    return flat if len(sizes) == 1 else nn.Sequential(flat, nn.Unflatten(1, sizes))


def _unsqueezed(node: fx.Node) -> nn.Module | None:
    """A channel before pictures: (B, H, W) to (B, 1, H, W)."""
    return nn.Unflatten(1, (1, -1)) if _given(node, ("dim",)).get("dim") == 1 else None


def _squeezed(node: fx.Node) -> nn.Module | None:
    """The axis of one output, which answers keep; None within the chain."""
    return nn.Identity() if all(user.op == "output" for user in node.users) else None


_SPECIAL: dict[Any, Callable[[fx.Node], nn.Module | None]] = {
    **dict.fromkeys((F.dropout, torch.dropout), _dropout),
    **dict.fromkeys(("view", "reshape", torch.reshape), _reshaped),
    **dict.fromkeys(("unsqueeze", torch.unsqueeze), _unsqueezed),
    **dict.fromkeys(("squeeze", torch.squeeze), _squeezed),
}
