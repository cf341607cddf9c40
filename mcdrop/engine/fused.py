"""The GPU's engine: rows to statistics in one launch for all passes, and one for the statistics.

Knows which networks fit on a chip, how they are padded, and in how many programs rows and passes
are shared out. Refuses to know formulas: `triton_kernel` has those of `tally` and `sums`.

Beside these two launches a call takes a dozen small ones, for the trunk and the deterministic
answer, and two copies, whatever T is. Recording a CUDA graph for each number of rows would save
some tens of microseconds of them, against a thousand launches of the plain loop; it is left out.
Wider networks are evaluated as batched products (`thin`).
"""

import copy
import functools
import importlib.util
import math
import os
import threading
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcdrop.engine.draw import Masks
from mcdrop.engine.layers import Layer, deterministic
from mcdrop.engine.sums import PRIOR, Sums, group_size
from mcdrop.engine.tally import Center, numpy64
from mcdrop.masks import BLOCK
from mcdrop.uncertainty import TINY

__all__ = ["MOST", "Fused", "finished", "fits", "lacking"]

Array = NDArray[np.float64]

MOST = 1024
"""Outputs of a network whose statistics `finished` makes: a row is a tile."""

_WIDEST = 256  # units of a layer: a block's activations lie in registers
_ROWS = 64  # rows a program, at least
_MASKS = 64 << 20  # bytes of masks of a launch; those of all passes are kept if they are no more
_CHIP = 227 << 10  # bytes of shared memory where the device does not say: a Hopper's
_LOG2 = math.log(2.0)


def lacking(device: torch.device) -> str | None:
    """What the kernels lack to run on a device; None where nothing is.

    Under Triton's interpreter (``TRITON_INTERPRET=1`` and ``MCDROP_ENGINE=triton`` in the
    environment) they run on the processor, slowly: for tests.
    """
    wanted = os.environ.get("MCDROP_ENGINE")
    if wanted == "torch":
        return "MCDROP_ENGINE=torch in the environment"
    interpreted = wanted == "triton" and os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not interpreted:
        return f"a {device.type} device, not cuda"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return _failure(device)


@functools.cache
def _failure(device: torch.device) -> str | None:
    """Why the smallest of kernels cannot be compiled and launched on a device, if so."""
    try:
        one = torch.ones(1, 1, 1, device=device)
        finished(Center(one[0], None, 1.0), (one, one, one[0]), 1, 1)
    except Exception as error:  # no compiler, an old driver, a device that Triton does not know
        return f"{type(error).__name__}: {error}"
    return None


def fits(layers: Sequence[Layer], *, reduced: bool) -> bool:
    """Whether the kernel can evaluate these layers, with their weights in shared memory."""
    widths = _widths(layers)
    device = layers[0].weight.device
    chip = _CHIP
    if device.type == "cuda":
        chip = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
    weights = sum(a * b for a, b in pairwise(widths))
    # float32 products need two parts of each weight
    rows = _rows(widths) * max(widths)
    shared = weights * (2 if reduced else 8) + rows * (2 if reduced else 4) + 4096
    plain = all(
        layer.weight.dtype == torch.float32
        and (layer.activation is None) == (layer is layers[-1])
        and (layer.activation is None or type(layer.activation) is nn.ReLU)
        for layer in layers
    )
    return plain and max(widths) <= _WIDEST and shared <= chip


def finished(center: Center, sums: tuple[Tensor, Tensor, Tensor], samples: int, size: int) -> Array:
    """Statistics from sums on the device, by one launch.

    Args:
        center: what deviations were taken from, (C, B), C at most `MOST`.
        sums: deviations (G, C, B), squares (any, C, B), divergences (G, B), as in `Sums`.
        samples: passes summed.
        size: passes a group.

    Returns:
        As `Native.predict`.

    Raises:
        FloatingPointError: a statistic is not finite.
    """
    from mcdrop.engine.triton_kernel import finish

    deviation, square, divergence = sums
    (outputs, rows), value = center.value.shape, center.value
    plain, log = value, value if center.log is None else center.log
    if center.temperature != 1.0:
        plain = (center.temperature * value.double().clamp(min=TINY).log()).softmax(dim=0)
    lists = 3 * (center.log is not None)
    out = value.new_empty(rows * (4 * outputs + lists), dtype=torch.float64)
    padded = _power(outputs)
    block = max(1, min(64, 1024 // padded))
    if rows:
        with torch.cuda.device_of(value):  # type: ignore[no-untyped-call]
            finish[(-(-rows // block),)](
                *(deviation, square, divergence, value, log, plain, out),
                *(rows, samples, size, len(deviation), len(square)),
                outputs=outputs,
                padded=padded,
                classes=center.log is not None,
                balance=BLOCK,
                prior=PRIOR,
                block=block,
                enable_fp_fusion=True,
            )
    numbers = numpy64(out)
    if not math.isfinite(numbers.sum()):
        raise FloatingPointError("a statistic is not finite")
    return numbers


class Fused:
    """A network laid out for the kernel, and its passes under the masks of a seed.

    Args:
        layers: the network after its trunk; `fits` holds, and nothing is `lacking`.
        masks: the source of its masks.
        samples: passes in all.
        reduced: whether products of passes are of bfloat16.
    """

    def __init__(
        self, layers: Sequence[Layer], masks: Masks, samples: int, *, reduced: bool
    ) -> None:
        self._layers, self._masks, self._samples = layers, masks, samples
        self._reduced, self._dtype = reduced, torch.bfloat16 if reduced else torch.float32
        self._widths = _widths(layers)
        self._weights = torch.cat([self._padded(layer, j) for j, layer in enumerate(layers)])
        self._biases = torch.cat([_fill(layer.bias, _power(len(layer.bias))) for layer in layers])
        self._words = sum(
            width
            for width, layer in zip(self._widths, layers, strict=False)
            if layer.dropout is not None
        )
        self._step = max(1, _MASKS // (BLOCK * max(1, self._words) * self._dtype.itemsize)) * BLOCK
        self._block = _rows(self._widths) if masks.shared else _ROWS
        self._lock = threading.Lock()
        self._kept: Tensor | None = None
        self.outputs = len(layers[-1].bias)

    def under(self, masks: Masks) -> "Fused":
        """The same network under other masks of the same kind."""
        other = copy.copy(self)
        other._masks, other._kept, other._lock = masks, None, threading.Lock()
        return other

    def runs(self, temperature: float | None) -> bool:
        """Whether the kernel can be compiled for this network, and launched: it is tried."""
        hidden = self._weights.new_zeros(1, self._layers[0].weight.shape[1], dtype=torch.float32)
        try:
            self.sums(hidden, temperature, range(1), range(1), 1)
        except Exception:  # as in `lacking`, or shared memory was estimated too small
            return False
        return True

    def answers(self, rows: int) -> bool:
        """Whether `predict` can take so many rows: as many as there are."""
        return rows >= 0

    @torch.inference_mode()
    def predict(
        self, x: Tensor, temperature: float | None, *, started: bool = True, place: int = 0
    ) -> Array:
        """Statistics of all passes; as `Native.predict`, of rows that have been in the trunk."""
        del started
        size = group_size(self._samples)
        center = self._center(x, temperature)
        return finished(
            center, self._run(x, center, range(self._samples), place, size), self._samples, size
        )

    @torch.inference_mode()
    def sums(
        self, hidden: Tensor, temperature: float | None, passes: range, rows: range, size: int
    ) -> tuple[Array, Array | None, Sums]:
        """Sums of some passes in groups of ``size``; as `Native.sums`."""
        center = self._center(hidden, temperature)
        deviation, square, divergence = self._run(hidden, center, passes, rows.start, size)
        parts = (numpy64(deviation), numpy64(square).sum(axis=0), numpy64(divergence))
        log = None if center.log is None else numpy64(center.log)
        return numpy64(center.value), log, Sums(size, len(passes), *parts)

    def _center(self, hidden: Tensor, temperature: float | None) -> Center:
        return Center.of(deterministic(self._layers, hidden)[1].T, temperature)

    def _run(
        self, hidden: Tensor, center: Center, passes: range, place: int, size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums by group: of deviations and their squares (G, C, B), of divergences (G, B)."""
        from mcdrop.engine.triton_kernel import evaluate

        rows, groups = len(hidden), -(-len(passes) // size)
        hidden = hidden.contiguous()
        deviation, square = hidden.new_empty(2, groups, self.outputs, rows)
        divergence = hidden.new_empty(groups, rows)
        log = center.value if center.log is None else center.log / _LOG2
        blocks = -(-rows // self._block)
        for start in range(passes.start, passes.stop if rows else 0, self._step):
            part = range(start, min(start + self._step, passes.stop))
            done = (start - passes.start) // size
            masks = self._drawn(part) if self._masks.shared else self._weights
            with torch.cuda.device_of(hidden):  # type: ignore[no-untyped-call]
                evaluate[(blocks, self._shares(blocks, -(-len(part) // size)))](
                    *(hidden, self._weights, self._biases, masks, center.value, log),
                    *(deviation[done:], square[done:], divergence[done:]),
                    *(rows, place, start, len(part), size, self._masks.seed),
                    1.0 / (_LOG2 * center.temperature),
                    classes=center.log is not None,
                    **self._constants(),
                )
        return deviation, square, divergence

    def _constants(self) -> dict[str, object]:
        """What the kernel is compiled for."""
        from mcdrop.engine.triton_kernel import tl

        layers, own = self._layers, not self._masks.shared
        return {
            "widths": self._widths,
            "inputs": layers[0].weight.shape[1],
            "outputs": self.outputs,
            "drops": tuple(-1 if layer.dropout is None else layer.dropout for layer in layers),
            "least": tuple(min(round(j.rate * 2**32), 2**32 - 1) if own else 0 for j in layers),
            "words": self._words,
            "own": own,
            "dtype": tl.bfloat16 if self._reduced else tl.float32,
            "word": tl.int16 if self._reduced else tl.int32,
            "block": self._block,
            "num_warps": 8 if own or self._block > _ROWS else 4,
            "enable_fp_fusion": True,
        }

    def _shares(self, blocks: int, groups: int) -> int:
        """Programs that share out the groups of a block of rows, where rows do not fill a GPU."""
        device = self._weights.device
        processors = 4
        if device.type == "cuda":
            processors = torch.cuda.get_device_properties(device).multi_processor_count
        return min(groups, -(-4 * processors // max(1, blocks)))

    def _drawn(self, passes: range) -> Tensor:
        """Masks of some passes, (T, words); those of all are drawn once, if there is room."""
        if self._samples > self._step:
            return self._laid(passes)
        with self._lock:
            if self._kept is None:
                self._kept = self._laid(range(self._samples))
            return self._kept[passes.start : passes.stop]

    def _laid(self, passes: range) -> Tensor:
        parts = [
            np.pad(
                self._masks.keep(layer.dropout, layer.rate, passes, layer.weight.shape[1]),
                ((0, 0), (0, width - layer.weight.shape[1])),
            )
            for width, layer in zip(self._widths, self._layers, strict=False)
            if layer.dropout is not None
        ]
        word = torch.int16 if self._reduced else torch.int32
        return (
            torch.from_numpy(np.concatenate(parts, axis=1)).to(word).neg_().to(self._weights.device)
        )

    def _padded(self, layer: Layer, place: int) -> Tensor:
        """Weights (I, O) of kept units, flat, with zeros around."""
        weight = (layer.weight / (1.0 - layer.rate)).to(self._dtype).T
        full = weight.new_zeros(self._widths[place], self._widths[place + 1])
        full[: weight.shape[0], : weight.shape[1]] = weight
        return full.flatten()


def _fill(bias: Tensor, width: int) -> Tensor:
    return nn.functional.pad(bias, (0, width - len(bias)))


def _widths(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Widths of the layers' inputs, and of the outputs, padded."""
    return (*(_power(layer.weight.shape[1]) for layer in layers), _power(len(layers[-1].bias)))


def _rows(widths: Sequence[int]) -> int:
    """Rows a program: by the compiler's report, more spill less beside large weights."""
    return 2 * _ROWS if max(a * b for a, b in pairwise(widths)) > 1 << 15 else _ROWS


def _power(width: int) -> int:
    """The next power of two that matrix units take."""
    return max(16, 1 << (width - 1).bit_length())
