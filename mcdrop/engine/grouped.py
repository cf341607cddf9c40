"""Grouped evaluation: passes whose first masks are equal share their first layer.

Knows two linear layers, of which the first drops so few units that many passes drop the same
ones: input dropout on narrow tables. Refuses to know seeds, softmax and statistics.

With 13 inputs dropped at a rate of .05, half of all passes drop none, and a hundred passes hold
some 25 different first masks. The layout is that of `thin`: feature-major, rows innermost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mcdrop.engine.layers import Layer, activate, deterministic
from mcdrop.engine.rows import room
from mcdrop.engine.thin import WORKING, Mask

__all__ = ["GroupedPlan", "groupable"]


@dataclass(frozen=True)
class Run:
    """Groups of equally many passes.

    Attributes:
        passes: (g * s,), group by group.
        first: (g * O, I), first layers with dropped inputs' weights set to zero.
        bias: (g * O, 1), theirs.
        second: (g, s * C, O), second layers likewise.
    """

    passes: Tensor
    first: Tensor
    bias: Tensor
    second: Tensor


def groupable(layers: Sequence[Layer], masks: Sequence[Mask | None]) -> bool:
    """Whether there are two layers and half as many first masks as passes, or fewer."""
    if len(layers) != 2 or masks[0] is None:
        return False
    return 2 * len(np.unique(masks[0], axis=0)) <= len(masks[0])


class GroupedPlan:
    """T thinned networks of two layers.

    Args:
        layers: the network after its trunk.
        masks: for each layer (T, I), or None where nothing is dropped.
        rows: number of rows that runs are made for.
        dtype: what products are computed in; outputs are at least float32.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        masks: Sequence[Mask | None],
        rows: int,
        dtype: torch.dtype,
    ) -> None:
        self._layers, self._dtype = layers, dtype
        first, second = (
            layer.weight * _factors(layer, mask) for layer, mask in zip(layers, masks, strict=True)
        )  # (T, O, I), (T or 1, C, O)
        second = second.expand(len(first), -1, -1)
        distinct = np.unique(np.asarray(masks[0]), axis=0, return_index=True, return_inverse=True)
        leaders, member = distinct[1], distinct[2].ravel()
        sizes = np.bincount(member)
        working = WORKING * room(first.device)
        limit = max(1, working // (first.shape[1] * rows * dtype.itemsize))
        self._runs = []
        for size in np.unique(sizes):
            groups = np.flatnonzero(sizes == size)
            for part in np.array_split(groups, -(-len(groups) // limit)):
                passes = np.concatenate([np.flatnonzero(member == group) for group in part])
                self._runs.append(
                    Run(
                        torch.from_numpy(passes).to(first.device),
                        first[leaders[part]].flatten(0, 1).to(dtype),
                        layers[0].bias.repeat(len(part))[:, None].to(dtype),
                        second[passes].reshape(len(part), -1, second.shape[2]).to(dtype),
                    )
                )

    def evaluate(self, hidden: Tensor, rows: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Evaluate all passes, run by run; as in `ThinPlan.evaluate`."""
        hidden = hidden[: len(rows)]
        bias, final = self._layers[1].bias[:, None], self._layers[1].activation
        yield torch.arange(0), deterministic(self._layers, hidden)[1].T[None]
        shared = hidden.to(self._dtype).T
        for run in self._runs:
            state = torch.addmm(run.bias, run.first, shared)  # (g * O, B)
            state = activate(self._layers[0].activation, state).view(len(run.second), -1, len(rows))
            raw = torch.bmm(run.second, state).view(len(run.passes), -1, len(rows))
            outputs = raw.to(bias.dtype).add_(bias)  # (g * s, C, B)
            yield run.passes, outputs if final is None else final(outputs)


def _factors(layer: Layer, mask: Mask | None) -> Tensor:
    """What a layer's weights are multiplied by, (T or 1, 1, I)."""
    if mask is None:
        return layer.weight.new_ones(1, 1, 1)
    return (torch.from_numpy(mask).to(layer.weight) / (1.0 - layer.rate))[:, None]  # (T, 1, I)
