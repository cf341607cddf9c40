"""Dense evaluation: the modules themselves, on inputs that masks have multiplied.

Knows any stage that a layout may hold, and masks of any kind. Passes stand on the batch axis.
Refuses to know statistics.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mcdrop.engine.draw import Masks
from mcdrop.engine.rows import room
from mcdrop.errors import NetworkError
from mcdrop.plan import Layout

__all__ = ["DensePlan"]

_ELEMENTS = 1 << 18  # activations evaluated at a time: 1 MiB of float32
_KEPT = 1 << 22  # elements of a mask that is drawn once instead of for every call


class DensePlan:
    """Passes of a layout, evaluated by its own modules.

    Args:
        layout: the network.
        masks: the source of its masks.
        passes: which passes.
    """

    def __init__(self, layout: Layout, masks: Masks, passes: range) -> None:
        self._layout, self._masks, self._passes = layout, masks, passes
        self._drawn: dict[int, Tensor] = {}

    def evaluate(self, hidden: Tensor, rows: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Evaluate all passes, some at a time.

        Args:
            hidden: (B, ...), what the trunk made of the rows.
            rows: the places of the rows among all rows of the call.

        Yields:
            First an empty tensor and the deterministic outputs (1, C, B); then passes (t,) and
            their outputs (t, C, B), which the receiver may overwrite.

        Raises:
            NetworkError: the network makes no vector of a row, but a map, say.
        """
        hidden = hidden[: len(rows)]
        state, widest = hidden, 1
        for stage in self._layout.stages:
            widest = max(widest, state.shape[1:].numel())
            state = stage.body(state)
        yield torch.arange(0), _vectors(state).T[None]
        step = max(1, _ELEMENTS * room(hidden.device) // (widest * max(1, len(hidden))))
        for start in range(0, len(self._passes) if self._layout.stages else 0, step):
            chunk = range(start, min(start + step, len(self._passes)))
            places = torch.arange(chunk.start, chunk.stop, device=hidden.device)
            yield places, self._run(hidden, chunk, rows)

    def _run(self, hidden: Tensor, chunk: range, rows: range) -> Tensor:
        state = hidden[None]  # (1, B, ...)
        for stage in self._layout.stages:
            factors = self._factors(stage.layer, stage.rate, state, chunk, rows)
            state = state * factors.view(*factors.shape[:2], *state.shape[2:])  # (t, B, ...)
            state = stage.body(state.flatten(0, 1))
            state = state.view(len(chunk), len(hidden), *state.shape[1:])
        return state.flatten(2).transpose(1, 2).contiguous()  # (t, C, B)

    def _factors(self, layer: int, rate: float, state: Tensor, chunk: range, rows: range) -> Tensor:
        """0 or 1 / (1 - rate) for each pass and unit, (t, 1 or B, units)."""
        units = state.shape[2:].numel()
        drawn = self._drawn.get(layer)
        if drawn is None and self._masks.shared and len(self._passes) * units <= _KEPT:
            drawn = self._draw(layer, rate, self._passes, rows, units, state)
            self._drawn[layer] = drawn
        if drawn is not None:
            return drawn[chunk.start : chunk.stop]
        passes = self._passes[chunk.start : chunk.stop]
        return self._draw(layer, rate, passes, rows, units, state)

    def _draw(
        self, layer: int, rate: float, passes: range, rows: range, units: int, like: Tensor
    ) -> Tensor:
        return self._masks.factors(layer, rate, passes, rows, units, like.device).to(like.dtype)


def _vectors(outputs: Tensor) -> Tensor:
    """Outputs (B, C), whatever axes of length 1 are beside; a map holds no classes."""
    shape = tuple(outputs.shape[1:])
    if math.prod(shape) > max(shape, default=0):
        raise NetworkError(
            f"the network makes an array of shape {shape} of a row, wanted one vector, a number "
            "for each class or target: pool what is left of space or time, or end in nn.Flatten() "
            "where each number is an output of its own"
        )
    return outputs.flatten(1)
