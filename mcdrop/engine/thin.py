"""Thinned evaluation: only kept units are computed, many passes as one batched product.

Knows how passes become small weight matrices. Refuses to know seeds, softmax and statistics.

The layout is feature-major, rows innermost: a bucket of t passes is a (t, units, n) product. In
the first layer after the trunk all passes share their input h, so with a rate below 1/2 it is
cheaper to compute W h once and to take away what the dropped units would have contributed:

    W (m * h) / (1 - rate) + b = [W h / (1 - rate) + b] - W (dropped h) / (1 - rate)

of which only the rows of kept outputs are ever computed. Passes are sorted by how many units they
keep, and cut into buckets padded to their largest pass; padding has weight zero.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcdrop.engine.layers import Layer, activate, deterministic
from mcdrop.engine.rows import aligned, room

__all__ = ["WORKING", "Mask", "ThinPlan", "thin_macs"]

Mask = NDArray[np.bool_]


WORKING = 3 << 20  # bytes of activations a bucket may hold: the caches of one core, measured
_LEAST = 2  # rows from which products of bfloat16 give a row the same bits in any company
_OUTPUTS = 1 << 17  # outputs handed on at a time


@dataclass(frozen=True)
class Bucket:
    """Some passes with weights of equal, padded shape.

    Attributes:
        passes: (t,), which passes, counted from the first of the plan.
        inputs: (t * K,), units of the trunk's output that enter the first product.
        outputs: (t * O,), rows of the base that the first product is added to.
        weights: one (t, O, K) for each layer.
        biases: one (t, O, 1) for each layer.
    """

    passes: NDArray[np.int64]
    inputs: Tensor
    outputs: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]


@dataclass(frozen=True)
class Step:
    """A bucket with the buffers it is evaluated in for some number of rows.

    Attributes:
        bucket: the weights.
        gathered: (t, K, B), what enters the first product.
        states: results of each layer, (t, O, B); the last one belongs to the outputs.
    """

    bucket: Bucket
    gathered: Tensor
    states: tuple[Tensor, ...]


@dataclass(frozen=True)
class Workspace:
    """Buffers for some number of rows: fresh pages cost more than the arithmetic done in them.

    Attributes:
        shared: (K, B), the trunk's output.
        base: (O, B), the first layer with nothing dropped.
        chunks: passes (t,), their steps, their raw outputs and their final ones, (t, C, B).
    """

    shared: Tensor
    base: Tensor
    chunks: tuple[tuple[Tensor, tuple[Step, ...], Tensor, Tensor], ...]


class ThinPlan:
    """T thinned networks, cut out of the weights once and evaluated for any rows.

    Args:
        layers: the network after its trunk.
        masks: for each layer (T, I), or None where nothing is dropped.
        rows: number of rows that the buckets are made for.
        dtype: what products are computed in; outputs are at least float32.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        masks: Sequence[Mask | None],
        rows: int,
        dtype: torch.dtype,
    ) -> None:
        self.layers, self.dtype = layers, dtype
        self._scaled = [(layer.weight / (1.0 - layer.rate)).to(dtype) for layer in layers]
        self._taken_away = layers[0].rate < 0.5  # compute the dropped units, not the kept ones
        self._bias = layers[-1].bias[:, None]
        self._local = threading.local()
        counts = [mask.sum(axis=1) for mask in masks if mask is not None]
        order = np.argsort(counts[min(1, len(counts) - 1)], kind="stable")
        width = max(layer.weight.shape[0] + layer.weight.shape[1] for layer in layers) // 2
        working = WORKING * room(self._bias.device)
        size = max(1, working // (width * rows * dtype.itemsize))
        parts = np.array_split(order, -(-len(order) // size))
        self._buckets = [self._cut(masks, part) for part in parts]

    def evaluate(self, hidden: Tensor, rows: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Evaluate all passes, some at a time.

        Args:
            hidden: (B or more, K), what the trunk made of the rows, and perhaps of padding.
            rows: the places of the B rows, of which only the number matters here.

        Yields:
            First an empty tensor and the deterministic outputs (1, C, B); then passes (t,) and
            their outputs (t, C, B), in a buffer that the next step reuses.
        """
        first = self.layers[0]
        linear, state = deterministic(self.layers, hidden)
        count = max(len(rows), _LEAST)
        spare = -count % aligned(hidden.device)
        if spare:
            count += spare
            hidden, linear, state = (_extended(part, count) for part in (hidden, linear, state))
        yield torch.arange(0), state[:count].T[None]
        space = self._workspace(count)
        space.shared.copy_(hidden[:count].to(self.dtype).T)  # (K, N)
        if self._taken_away:
            linear = linear.div_(1.0 - first.rate).add_(first.bias)[:count]
            space.base.copy_(linear.to(space.base.dtype).T)
        alone = len(self.layers) == 1 and self._taken_away
        final = self.layers[-1].activation
        for passes, steps, raw, outputs in space.chunks:
            for step in steps:
                self._run(step, space)
            outputs.copy_(raw).add_(space.base if alone else self._bias)
            yield passes, outputs if final is None else final(outputs)

    def _run(self, step: Step, space: Workspace) -> None:
        bucket, state = step.bucket, step.gathered
        torch.index_select(space.shared, 0, bucket.inputs, out=state.flatten(0, 1))
        last = len(self.layers) - 1
        for j, (weight, result) in enumerate(zip(bucket.weights, step.states, strict=True)):
            if j == last:
                torch.bmm(weight, state, out=result)
            elif j == 0 and self._taken_away:
                torch.index_select(space.base, 0, bucket.outputs, out=result.flatten(0, 1))
                result.baddbmm_(weight, state)
            else:
                torch.baddbmm(bucket.biases[j], weight, state, out=result)
            state = result if j == last else activate(self.layers[j].activation, result)

    def _workspace(self, rows: int) -> Workspace:
        """The buffers of this thread; those of the last two numbers of rows are kept."""
        spaces: dict[int, Workspace] = self._local.__dict__.setdefault("spaces", {})
        if rows not in spaces:
            while len(spaces) > 1:
                del spaces[next(iter(spaces))]
            spaces[rows] = self._allocate(rows)
        return spaces[rows]

    def _allocate(self, rows: int) -> Workspace:
        like, classes = self._scaled[0], len(self._bias)
        largest = max(len(bucket.inputs) for bucket in self._buckets)
        gathered = like.new_empty(largest * rows)
        hidden = [
            like.new_empty(max(b.weights[j].shape[:2].numel() for b in self._buckets) * rows)
            for j in range(len(self.layers) - 1)
        ]
        limit = max(1, _OUTPUTS * room(like.device) // max(1, classes * rows))
        groups: list[list[Bucket]] = [[]]
        for bucket in self._buckets:
            if groups[-1] and sum(len(b.passes) for b in groups[-1]) + len(bucket.passes) > limit:
                groups.append([])
            groups[-1].append(bucket)
        most = max(sum(len(bucket.passes) for bucket in group) for group in groups)
        raw = like.new_empty(most * classes * rows)
        outputs = self._bias.new_empty(most * classes * rows)
        chunks = []
        for group in groups:
            passes = torch.from_numpy(np.concatenate([bucket.passes for bucket in group]))
            passes = passes.to(like.device)
            ends = raw[: len(passes) * classes * rows].view(-1, classes, rows)
            steps, start = [], 0
            for bucket in group:
                count = len(bucket.passes)
                states = [
                    buffer[: weight.shape[:2].numel() * rows].view(*weight.shape[:2], rows)
                    for buffer, weight in zip(hidden, bucket.weights, strict=False)
                ]
                steps.append(
                    Step(
                        bucket,
                        gathered[: len(bucket.inputs) * rows].view(count, -1, rows),
                        (*states, ends[start : start + count]),
                    )
                )
                start += count
            chunks.append((passes, tuple(steps), ends, outputs[: ends.numel()].view_as(ends)))
        alone = len(self.layers) == 1
        base = (self._bias if alone else like).new_empty(len(self.layers[0].bias), rows)
        return Workspace(like.new_empty(like.shape[1], rows), base, tuple(chunks))

    def _cut(self, masks: Sequence[Mask | None], passes: NDArray[np.int64]) -> Bucket:
        """Gather the weights of some passes."""
        widths = [layer.weight.shape[1] for layer in self.layers]
        kept = [
            np.ones((len(passes), width), np.bool_) if mask is None else mask[passes]
            for mask, width in zip(masks, widths, strict=True)
        ]
        kept.append(np.ones((len(passes), len(self._bias)), np.bool_))
        packs = [_pack(mask, self._bias.device) for mask in kept]  # of the units between layers
        sign = 1.0
        enters = packs[:-1]
        if self._taken_away:
            enters[0], sign = _pack(~kept[0], self._bias.device), -1.0
        weights, biases = [], []
        for layer, scaled, enter, leave in zip(
            self.layers, self._scaled, enters, packs[1:], strict=True
        ):
            weight = scaled[leave.units]  # (t, O, I)
            weight = weight.gather(2, enter.units[:, None].expand(-1, weight.shape[1], -1))
            weights.append(weight * (sign * enter.real[:, None]).to(self.dtype))  # (t, O, K)
            biases.append(layer.bias[leave.units][:, :, None].to(self.dtype))
            sign = 1.0
        return Bucket(
            passes,
            enters[0].units.flatten(),
            packs[1].units.flatten(),
            tuple(weights),
            tuple(biases),
        )


@dataclass(frozen=True)
class Pack:
    """Chosen units of some passes, padded: which, and 1 where it is no padding; (t, K) both."""

    units: Tensor
    real: Tensor


def _pack(mask: Mask, device: torch.device) -> Pack:
    """Pack the True places of each row."""
    even = max(2, aligned(device))
    width = min(max(even, -(-int(mask.sum(axis=1).max()) // even) * even), mask.shape[1])
    order = np.argsort(~mask, axis=1, kind="stable")[:, :width]
    real = np.take_along_axis(mask, order, axis=1)
    return Pack(torch.from_numpy(order).to(device), torch.from_numpy(real).float().to(device))


def _extended(rows: Tensor, count: int) -> Tensor:
    """As many rows, zeros at the end."""
    return torch.nn.functional.pad(rows, (0, 0, 0, max(0, count - len(rows))))


def thin_macs(layers: Sequence[Layer]) -> float:
    """Expected multiplications a row and pass, without padding."""
    before = min(1.0 - layers[0].rate, layers[0].rate or 1.0)
    total = 0.0
    for layer, rate in zip(layers, [*(layer.rate for layer in layers[1:]), 0.0], strict=True):
        total += layer.weight.numel() * before * (1.0 - rate)
        before = 1.0 - rate
    return total
