"""The native engine: rows to statistics in one call, where the package was built with a compiler.

Knows which of the kernel's two ways is cheaper, and how rows are shared out over threads. Refuses
to know formulas: the kernel has those of `sums`.
"""

import copy
import ctypes
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcdrop.engine.draw import Masks
from mcdrop.engine.kernel import NetworkArgs, RowsArgs, library
from mcdrop.engine.layers import Layer
from mcdrop.engine.packing import Packing
from mcdrop.engine.sums import Sums, group_size

__all__ = ["Native", "suits"]

Array = NDArray[np.float64]

_ROWS = 256  # rows a thread must have to be worth starting
_SPAN = 1 << 14  # rows a call: long enough for threads, short enough to be interrupted
_BITS = 32 << 20  # bytes of masks of rows' own that are drawn together; the first are kept
_MASKS = 1 << 15  # passes whose masks are kept as bits


def suits(trunk: Sequence[Layer], layers: Sequence[Layer], *, reduced: bool) -> bool:
    """Whether the kernel is there and can evaluate these layers; ``reduced`` means bfloat16."""
    kernel = library()
    if kernel is None:
        return False
    if reduced and (torch.cpu.get_capabilities().get("amx_bf16") or not kernel.mcdrop_reduced()):
        return False  # matrix units are torch's affair
    return layers[-1].activation is None and all(
        layer.weight.dtype == torch.float32
        and layer.weight.device.type == "cpu"
        and (layer.activation is None or type(layer.activation) is nn.ReLU)
        # products with zero are left out, which must not hide a broken weight
        and math.isfinite(float(layer.weight.sum() + layer.bias.sum()))
        for layer in (*trunk, *layers)
    )


class Native:
    """A network laid out for the kernel, and its passes under the masks of a seed.

    Args:
        trunk: layers before the first dropout; empty where somebody else computes them.
        layers: the rest of the network; `suits` holds.
        masks: the source of its masks.
        samples: passes in all.
        reduced: whether products of passes are of bfloat16.
        corrected: whether sums start from what these miss on average; `reduced` then holds.
        slab: passes whose thinned weights may exist at a time; if these are all, they are kept.

    Raises:
        RuntimeError: there is no kernel.
    """

    def __init__(
        self,
        trunk: Sequence[Layer],
        layers: Sequence[Layer],
        masks: Masks,
        samples: int,
        *,
        reduced: bool,
        corrected: bool,
        slab: int,
    ) -> None:
        kernel = library()
        if kernel is None:
            raise RuntimeError("there is no native kernel here: ask `suits` first")
        self._kernel, self._layers, self._masks = kernel, layers, masks
        self._packing = Packing(kernel, trunk, layers, reduced=reduced, corrected=corrected)
        self._trunk, self._samples = len(trunk), samples
        self._limits = {False: slab, True: _MASKS}
        self._few = _few(layers, kernel.mcdrop_width(), reduced=reduced, kept=samples <= slab)
        words = sum(-(-layer.weight.shape[1] // 64) for layer in layers)
        self._span = _SPAN if masks.shared else max(1, _BITS // (8 * words * samples))
        self._lock = threading.Lock()
        self._kept: dict[bool, NetworkArgs] = {}
        self._first: tuple[int, NetworkArgs] = 0, NetworkArgs()
        self.outputs, self._group = len(layers[-1].bias), group_size(samples)

    def under(self, masks: Masks) -> "Native":
        """The same network under other masks of the same kind."""
        other = copy.copy(self)
        other._masks, other._kept, other._lock = masks, {}, threading.Lock()
        other._first = 0, NetworkArgs()
        return other

    def answers(self, rows: int) -> bool:
        """Whether `predict` can take so many rows: only where all passes exist at a time."""
        return not self._masks.shared or self._samples <= self._limits[rows <= self._few]

    def predict(
        self, x: Tensor, temperature: float | None, *, started: bool = False, place: int = 0
    ) -> Array:
        """Statistics of all passes.

        Args:
            x: (B, D) float32, rows; ``answers(B)`` holds.
            temperature: divides logits; None for a regression.
            started: whether ``x`` has been through the trunk.
            place: of the first row among those that masks of rows' own are drawn for.

        Returns:
            First (4, B, C): the deterministic answer, means, spreads (standard deviations of
            classes, variances of a regression), errors of the means. Then, of classes, (3, B):
            mutual information, errors of the total entropy and of the information.

        Raises:
            FloatingPointError: a statistic is not finite.
            MemoryError: there is no room for the activations of some hundred rows.
        """
        count, lists = x.shape[0], 3 * (temperature is not None)
        out = np.empty(count * (4 * self.outputs + lists))
        rows = self._rows(count, temperature, self._group)
        rows.statistics, rows.start = _address(out), self._trunk if started else 0
        self._run(x, place, range(self._samples), rows)
        return out

    def sums(
        self, hidden: Tensor, temperature: float | None, passes: range, rows: range, size: int
    ) -> tuple[Array, Array | None, Sums]:
        """Sums of some passes in groups of ``size``, as `Sums` wants them.

        Args:
            hidden: (B, K) float32, what the trunk made of the rows.
            temperature: divides logits; None for a regression.
            passes: which passes.
            rows: the places of the rows among all rows of the call.
            size: passes a group.

        Returns:
            The deterministic answer (C, B); of classes, its logarithm (C, B); the sums.

        Raises:
            MemoryError: as in `predict`.
        """
        groups, shape = -(-len(passes) // size), (self.outputs, len(hidden))
        deviation, square = np.zeros((groups, *shape)), np.zeros(shape)
        divergence, center = np.zeros((groups, shape[1])), np.empty((2, *shape))
        args = self._rows(len(hidden), temperature, size)
        args.start = self._trunk
        args.deviation, args.square = deviation.ctypes.data, square.ctypes.data
        args.divergence, args.value = divergence.ctypes.data, center[0].ctypes.data
        args.log = center[1].ctypes.data
        self._run(hidden, rows.start, passes, args)
        log = None if temperature is None else center[1]
        return center[0], log, Sums(size, len(passes), deviation, square, divergence)

    def _alone(self, rows: int) -> bool:
        return not self._masks.shared or rows <= self._few

    def _rows(self, count: int, temperature: float | None, size: int) -> RowsArgs:
        scale = 0.0 if temperature is None else 1.0 / (math.log(2.0) * temperature)
        return RowsArgs(stride=count, scale=scale, group=size)

    def _run(self, x: Tensor, place: int, passes: range, rows: RowsArgs) -> None:
        """All rows and passes; ``place`` is that of the first row among all rows of the call."""
        whole, width = x.shape
        alone = rows.alone = self._alone(whole)
        for start in range(0, whole, self._span):
            count = min(self._span, whole - start)
            part = x if count == whole else x[start : start + count]
            if not (part.dtype == torch.float32 and part.is_cpu and part.is_contiguous()):
                part = part.to("cpu", torch.float32).contiguous()
            at = part.data_ptr()
            if at % 4:
                part = part.clone()
                at = part.data_ptr()
            rows.input, rows.place, rows.count = at, start, count
            where = range(place + start, place + start + count)
            for network, span in self._networks(alone, where, passes, rows):
                rows.begin, rows.end = span.start, span.stop
                self._share(network, rows, width)

    def _networks(
        self, alone: bool, where: range, passes: range, rows: RowsArgs
    ) -> Iterable[tuple[NetworkArgs, range]]:
        """Plans, and which of their passes; all passes at once where there is room for them."""
        if not self._masks.shared:
            rows.own = 1
            return ((self._own(where), passes),)
        if self._samples <= self._limits[alone]:
            return ((self._plan(alone), passes),)
        return self._slabs(alone, passes, rows)

    def _slabs(
        self, alone: bool, passes: range, rows: RowsArgs
    ) -> Iterator[tuple[NetworkArgs, range]]:
        size = self._limits[alone]
        for start in range(passes.start, passes.stop, size):
            slab = range(start, min(start + size, passes.stop))
            rows.first = start - passes.start
            yield self._made(alone, slab), range(len(slab))

    def _plan(self, alone: bool) -> NetworkArgs:
        with self._lock:
            if alone not in self._kept:
                self._kept[alone] = self._made(alone, range(self._samples))
            return self._kept[alone]

    def _made(self, alone: bool, passes: range) -> NetworkArgs:
        masks = [
            None
            if layer.dropout is None
            else self._masks.keep(layer.dropout, layer.rate, passes, layer.weight.shape[1])
            for layer in self._layers
        ]
        if not alone:
            return self._packing.thin(masks, len(passes))
        bits = [None if m is None else self._packing.bits(j, m) for j, m in enumerate(masks)]
        return self._packing.alone(bits, len(passes))

    def _own(self, where: range) -> NetworkArgs:
        """A plan of rows that have masks of their own; that of a call's first rows is kept."""
        with self._lock:
            if where.start == 0 and len(where) <= self._first[0]:
                return self._first[1]
        layers, seed = range(len(self._layers)), self._masks.seed
        bits = [self._packing.draw(j, seed, where, self._samples) for j in layers]
        network = self._packing.alone(bits, self._samples)
        if where.start == 0:
            with self._lock:
                self._first = len(where), network
        return network

    def _share(self, network: NetworkArgs, rows: RowsArgs, width: int) -> None:
        """Share rows out over as many threads as PyTorch is set to use."""
        count = rows.count
        threads = count // _ROWS
        if threads > 1:
            threads = min(torch.get_num_threads(), threads)
        if threads <= 1:
            return _check(
                self._kernel.mcdrop_run(ctypes.addressof(network), ctypes.addressof(rows))
            )
        size = -(-count // threads)

        def run(start: int) -> None:
            part = RowsArgs.from_buffer_copy(rows)
            part.count, part.place = min(size, count - start), rows.place + start
            part.input, part.own = rows.input + 4 * width * start, rows.own and rows.own + start
            _check(self._kernel.mcdrop_run(ctypes.addressof(network), ctypes.addressof(part)))

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(0, count, size)))
        return None


def _address(array: Array) -> int:
    """Where an array begins; several times as fast as to ask the array itself."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data)) if array.size else 0


def _check(code: int) -> None:
    if code & 1:
        raise MemoryError("no room for the activations of some hundred rows")
    if code:
        raise FloatingPointError("a statistic is not finite")


def _few(layers: Sequence[Layer], width: int, *, reduced: bool, kept: bool) -> int:
    """Rows up to which each is better computed alone, by cycles a pass (measured, Zen 4)."""
    weight = (0.63 if reduced else 1.0) + (0.0 if kept else 10.0)  # gathered again where not kept
    thin, alone = 300.0, 0.0
    leaving = [1.0 - layer.rate for layer in layers[1:]] + [1.0]
    for place, (layer, leave) in enumerate(zip(layers, leaving, strict=True)):
        outputs, inputs = layer.weight.shape
        share = min(layer.rate, 1.0 - layer.rate) if place == 0 else 1.0 - layer.rate
        thin += inputs * share * outputs * leave * weight
        alone += inputs * share / 2 * -(-outputs // width) * 1.7 + 50.0  # half are zero
    return int(thin / alone)
