"""Layers and masks laid out as the kernel reads them.

Knows panels, columns, bits and gathered weights. Refuses to know rows and seeds.

As in `thin`, a first layer that drops less than half of its inputs is computed once with nothing
dropped, and of each pass only what the dropped units would have contributed: the units that
*enter* are then the dropped ones, and the weights are negative.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcdrop.engine.kernel import DenseArgs, LayerArgs, NetworkArgs
from mcdrop.engine.layers import Layer
from mcdrop.engine.thin import Mask

__all__ = ["Packing"]

Array = NDArray[Any]


class Packing:
    """A network's weights, for plans of its passes.

    Args:
        kernel: the library.
        trunk: layers before the first dropout.
        layers: the rest of the network.
        reduced: whether products of passes are of bfloat16.
        corrected: whether what that takes from the weights is added again, on average over masks.
    """

    def __init__(
        self,
        kernel: ctypes.CDLL,
        trunk: Sequence[Layer],
        layers: Sequence[Layer],
        *,
        reduced: bool,
        corrected: bool,
    ) -> None:
        self._kernel, self._width = kernel, int(kernel.mcdrop_width())
        self._trunk, self._layers, self._reduced = len(trunk), layers, reduced
        self.taken = layers[0].rate < 0.5
        self._scale = 1.0 / (1.0 - layers[0].rate)
        self._weights = [layer.weight / (1.0 - layer.rate) for layer in layers]
        if self.taken:
            self._weights[0] = -self._weights[0]
        self._held: list[Array] = []  # what the structures point at
        self._dense = (DenseArgs * (len(trunk) + len(layers)))()
        for dense, layer in zip(self._dense, (*trunk, *layers), strict=True):
            dense.outputs, dense.inputs = layer.weight.shape
            dense.panels = _address(self._held, self._panels(layer.weight))
            dense.bias = _address(self._held, self._padded(layer.bias))
            dense.relu = layer.activation is not None
        self._lost = (DenseArgs * len(layers))() if corrected else None
        for j, lost in enumerate(self._lost or ()):
            weight, rate = self._weights[j], layers[j].rate
            share = rate if j == 0 and self.taken else 1.0 - rate  # of inputs that enter
            missing = (weight - weight.bfloat16().float()) * share
            lost.outputs, lost.inputs = weight.shape
            lost.panels = _address(self._held, self._panels(missing))
            lost.bias = self._dense[len(trunk) + j].bias
        self._columns: list[Array] = []

    def thin(self, masks: Sequence[Mask | None], samples: int) -> NetworkArgs:
        """Passes for many rows; ``masks`` (T, I) are of kept units, or None where all are."""
        network, parts = self._network(samples)
        entering = [
            np.ones((samples, part.inputs), np.bool_) if mask is None else self._entering(j, mask)
            for j, (part, mask) in enumerate(zip(parts, masks, strict=True))
        ]
        counts = [mask.sum(axis=1) for mask in entering]
        leaving = [*counts[1:], np.full(samples, parts[-1].outputs)]
        for j, part in enumerate(parts):
            words = (counts[j] + 1) // 2 if self._reduced else counts[j]
            starts = np.concatenate([[0], np.cumsum(counts[j])])
            held = network.held
            part.weight = _address(held, np.ascontiguousarray(self._weights[j].numpy()))
            part.units = _address(held, np.nonzero(entering[j])[1].astype(np.int32))
            part.starts = _address(held, starts.astype(np.int64))
            part.packed = _address(held, np.empty(int((words * leaving[j]).sum()), np.uint32))
        self._kernel.mcdrop_pack(ctypes.byref(network))
        return network

    def alone(self, bits: Sequence[Array | None], samples: int) -> NetworkArgs:
        """Passes for few rows, or for rows that have their own; ``bits`` as `bits` makes them."""
        if not self._columns:
            self._columns = [_aligned(self._column_words(weight)) for weight in self._weights]
        network, parts = self._network(samples)
        for part, columns, words in zip(parts, self._columns, bits, strict=True):
            part.columns = _address(network.held, columns)
            part.bits = None if words is None else _address(network.held, words)
        return network

    def bits(self, layer: int, mask: Mask) -> Array:
        """Masks of kept units (T, I) as words of bits of entering ones, (T, words)."""
        entering = self._entering(layer, mask)
        spare = -entering.shape[1] % 64
        packed = np.packbits(np.pad(entering, ((0, 0), (0, spare))), axis=1, bitorder="little")
        return packed.view(np.uint64)

    def draw(self, layer: int, seed: int, rows: range, samples: int) -> Array | None:
        """Bits of plain masks, each row its own, (B, T, words); None where nothing is dropped."""
        dropout, rate = self._layers[layer].dropout, self._layers[layer].rate
        if dropout is None:
            return None
        units = self._layers[layer].weight.shape[1]
        out = np.empty((len(rows), samples, -(-units // 64)), np.uint64)
        flip, least = layer == 0 and self.taken, min(round(rate * 2**32), 2**32 - 1)
        where = rows.start, len(rows), 0, samples
        self._kernel.mcdrop_draw(seed, dropout, *where, units, least, flip, out.ctypes.data)
        return out

    def _network(self, samples: int) -> tuple[NetworkArgs, ctypes.Array[LayerArgs]]:
        parts = (LayerArgs * len(self._layers))()
        for part, dense in zip(parts, self._dense[self._trunk :], strict=True):
            part.inputs, part.outputs, part.relu = dense.inputs, dense.outputs, dense.relu
            part.bias = dense.bias
        network = NetworkArgs(
            *(self._trunk, len(parts), samples, self._reduced, self.taken, self._scale),
            *(ctypes.addressof(self._dense), ctypes.addressof(parts)),
            None if self._lost is None else ctypes.addressof(self._lost),
        )
        network.held = [parts]
        return network, parts

    def _entering(self, layer: int, mask: Mask) -> Mask:
        return ~mask if layer == 0 and self.taken else mask

    def _panels(self, weight: Tensor) -> Array:
        """(O, I) to (O / width, rounded up, I, width)."""
        full = np.pad(weight.numpy(), ((0, -len(weight) % self._width), (0, 0)))
        return np.ascontiguousarray(full.reshape(-1, self._width, full.shape[1]).swapaxes(1, 2))

    def _column_words(self, weight: Tensor) -> Array:
        """(O, I) to (I, words): floats, or bfloat16 of one panel of outputs beside the next."""
        panels = 2 if self._reduced else 1
        full = np.pad(
            weight.T.contiguous().numpy(), ((0, 0), (0, -len(weight) % (panels * self._width)))
        )
        if not self._reduced:
            return full
        halves = torch.from_numpy(full).bfloat16().view(torch.int16).numpy().view(np.uint16)
        pairs = halves.reshape(len(full), -1, 2, self._width).astype(np.uint32)
        return (pairs[:, :, 0] | pairs[:, :, 1] << np.uint32(16)).reshape(len(full), -1)

    def _padded(self, bias: Tensor) -> Array:
        return np.pad(bias.numpy(), (0, -len(bias) % self._width))


def _address(held: list[Any], array: Array) -> int:
    """Where an array lies, which is held from now on; in whole lines of memory."""
    array = _aligned(array)
    held.append(array)
    return array.ctypes.data


def _aligned(array: Array) -> Array:
    """The array, or a copy that begins with a line of memory."""
    if array.ctypes.data % 64 == 0:
        return array
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    aligned = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    aligned[...] = array
    return aligned
