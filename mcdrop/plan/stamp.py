"""Whether a network is still what it was."""

from operator import itemgetter
from typing import Any

from torch import nn

__all__ = ["Stamp"]

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
