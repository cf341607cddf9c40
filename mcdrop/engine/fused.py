"""The GPU's engine: rows to statistics in one launch for all passes, and one for the statistics.

Knows in how many programs rows and passes are shared out. Refuses to know formulas, which
`triton_kernel` has as `tally` does, how statistics follow (`finish`), and which networks fit on a
chip (`chip`).

Beside these two launches a call takes a dozen small ones, for the trunk and the deterministic
answer, and two copies, whatever T is. Recording a CUDA graph for each number of rows would save
some tens of microseconds of them, against a thousand launches of the plain loop; it is left out.
Wider networks are evaluated as batched products (`thin`).
"""

import copy
import math
import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcdrop.engine.draw import Masks
from mcdrop.engine.finish import finished
from mcdrop.engine.layers import Layer, deterministic
from mcdrop.engine.sums import Sums, group_size
from mcdrop.engine.tally import Center, numpy64
from mcdrop.engine.tiles import ROWS, padded_width, padded_widths, program_rows
from mcdrop.masks import BLOCK

__all__ = ["Fused"]

Array = NDArray[np.float64]

_MASKS = 64 << 20  # bytes of masks of a launch; those of all passes are kept if they are no more
_LOG2 = math.log(2.0)


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
        self._widths = padded_widths(layers)
        self._weights = torch.cat([self._padded(layer, j) for j, layer in enumerate(layers)])
        self._biases = torch.cat(
            [_fill(layer.bias, padded_width(len(layer.bias))) for layer in layers]
        )
        self._words = sum(
            width
            for width, layer in zip(self._widths, layers, strict=False)
            if layer.dropout is not None
        )
        self._step = max(1, _MASKS // (BLOCK * max(1, self._words) * self._dtype.itemsize)) * BLOCK
        self._block = program_rows(self._widths) if masks.shared else ROWS
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
            "num_warps": 8 if own or self._block > ROWS else 4,
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
