"""A network as data: its layers by name and argument, and the network built from them again.

Knows which modules a card may name and how each was made. Refuses to know their weights, and any
module that is not PyTorch's own: nothing that a card says is ever imported or run.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from mcdrop.adopted import Layer
from mcdrop.errors import NetworkError
from mcdrop.plan import SEEN, known, leaves

__all__ = ["build_layers", "describe"]

_KINDS = {kind.__name__: kind for kind in (*SEEN, nn.Dropout)}
_ELSEWHERE = {"self", "device", "dtype"}  # arguments that say where a module lies, not what it is


def describe(network: nn.Module) -> tuple[tuple[Layer, ...], dict[str, Tensor]]:
    """The layers of ``network``, nested ones in order, and the state of what they build.

    Weights are taken as the modules use them, so that those of a parametrization are its outcome,
    and in float32.

    Raises:
        NetworkError: a module is not one that a card can name; the message names it.
    """
    layers: list[Layer] = []
    state: dict[str, Tensor] = {}
    for i, (name, module) in enumerate(leaves(network, type(network).__name__)):
        kind = known(module)
        if kind is None:
            raise NetworkError(
                f"{name} is a {type(module).__name__}, which is none of torch.nn's layers that "
                "can be built again from their arguments: leave it out and adopt the layers after "
                "it, with what it gives as rows"
            )
        layers.append(Layer(kind=kind.__name__, options=_options(kind, module)))
        for key in _build(layers[-1]).state_dict():
            value = getattr(module, key).detach().cpu()
            state[f"{i}.{key}"] = value.float() if value.is_floating_point() else value
    return tuple(layers), state


def build_layers(layers: tuple[Layer, ...], state: dict[str, Tensor]) -> nn.Sequential:
    """The network of ``layers`` with the weights of ``state``, in eval mode.

    Raises:
        NetworkError: a layer has no such kind or options, or the weights are not its.
    """
    try:
        network = nn.Sequential(*(_build(layer) for layer in layers))
        network.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise NetworkError(f"layers and weights do not fit: {error}") from None
    return network.eval().requires_grad_(False)


def _build(layer: Layer) -> nn.Module:
    if layer.kind not in _KINDS:
        raise NetworkError(f"there is no layer {layer.kind!r}: {', '.join(sorted(_KINDS))}")
    with torch.device("meta"):  # no memory, and no draw from torch's global generator
        made: nn.Module = _KINDS[layer.kind](**{k: _tuples(v) for k, v in layer.options.items()})
    return made


def _options(kind: type[nn.Module], module: nn.Module) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in inspect.signature(kind.__init__).parameters:
        if name == "bias":
            options[name] = module.bias is not None
        elif name not in _ELSEWHERE and hasattr(module, name):
            options[name] = _lists(getattr(module, name))
    return options


def _lists(value: Any) -> Any:
    return [_lists(each) for each in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
