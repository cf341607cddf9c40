"""Passes over rows: evaluated by the engine's best way, summed up, made answers.

Knows the order of blocks of rows and of passes. Refuses to know seeds and where rows come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcdrop.engine import Engine, Masks
from mcdrop.engine.answers import Reading, Statistics, join
from mcdrop.engine.finish import MOST, finished
from mcdrop.engine.fused import Fused
from mcdrop.engine.native import Native
from mcdrop.engine.rows import LEAST, refuse_infinite, spans, through_trunk
from mcdrop.engine.sums import Sums, group_size
from mcdrop.engine.tally import Center, Tally, numpy64
from mcdrop.errors import NetworkError
from mcdrop.masks import BLOCK
from mcdrop.uncertainty import Array

__all__ = ["Passes"]

_LOGS = 60.0  # logarithms of learned variances are not larger, for float32 to hold them


@dataclass(frozen=True)
class Passes:
    """T passes of a network.

    Attributes:
        engine: what evaluates them.
        reading: what outputs mean.
        samples: T.
    """

    engine: Engine
    reading: Reading
    samples: int

    def under(self, masks: Masks) -> "Passes":
        """Passes of the same network under other masks of the same kind."""
        return replace(self, engine=self.engine.under(masks))

    def takes(self, rows: Tensor) -> bool:
        """Whether `answer` is one call, which itself refuses numbers that are not finite."""
        return self.engine.trunk_too and self._all_told(rows.shape[0])

    def answer(self, rows: Tensor) -> Statistics:
        """Statistics of all passes over rows (B, ...)."""
        native = self.engine.native
        if native and self._all_told(rows.shape[0]):
            return self._at_once(native, rows)
        if self.engine.finishes and not self.reading.learned:
            blocks = spans(len(rows), self.engine.rows)
            return join([self._finished(rows[b.start : b.stop], b) for b in blocks])
        return next(self.stream(rows, (self.samples,)))

    def stream(self, rows: Tensor, ends: tuple[int, ...]) -> Iterator[Statistics]:
        """Statistics of the first passes, as many as ``ends`` say."""
        streams = [
            self._block(rows[span.start : span.stop], span, ends)
            for span in spans(len(rows), self.engine.rows)
        ]
        for _ in ends:
            yield join([next(stream) for stream in streams])

    def until(self, rows: Tensor, tolerance: float) -> Statistics:
        """Statistics of as many passes as rows need for errors of the mean below a tolerance."""
        blocks = spans(len(rows), self.engine.rows)
        return join([self._until(rows[span.start : span.stop], tolerance) for span in blocks])

    @torch.inference_mode()
    def sample(self, rows: Tensor) -> NDArray[np.float64]:
        """Outputs of every pass, (T, B, C)."""
        parts = [self._sample(rows, span) for span in spans(len(rows), self.engine.rows)]
        return numpy64(torch.cat(parts, dim=1))

    def _all_told(self, rows: int) -> bool:
        native = self.engine.native
        return native is not None and not self.reading.learned and native.answers(rows)

    def _at_once(self, native: Native | Fused, rows: Tensor) -> Statistics:
        """All that the kernel has to say about rows: in one call, if it can run the trunk too."""
        if self.engine.trunk_too:
            return self._told(native, rows, 0)
        blocks = spans(len(rows), self.engine.rows)
        return join([self._begun(native, rows[b.start : b.stop], b) for b in blocks])

    def _begun(self, native: Native | Fused, rows: Tensor, span: range) -> Statistics:
        """Likewise for a block of rows that PyTorch's trunk makes rows of units of, or else."""
        hidden = self._hidden(rows)
        if hidden.dim() != 2:
            return next(self._block(rows, span, (self.samples,)))
        return self._told(native, hidden[: len(span)], span.start)

    def _told(self, native: Native | Fused, rows: Tensor, place: int) -> Statistics:
        temperature, started = self.reading.scale(native.outputs), not self.engine.trunk_too
        try:
            numbers = native.predict(rows, temperature, started=started, place=place)
        except FloatingPointError:
            if not started:
                refuse_infinite(rows)
            raise self.reading.broken() from None
        return self.reading.answer(numbers, rows.shape[0], native.outputs, self.samples)

    @torch.inference_mode()
    def _finished(self, rows: Tensor, span: range) -> Statistics:
        """Statistics of all passes, made on the device where their sums are."""
        size = group_size(self.samples)
        center, tally = self._tally(self._hidden(rows), range(self.samples), span, size)
        if center.value.shape[0] > MOST:
            log = None if center.log is None else numpy64(center.log)
            found = self.reading.finish(tally.sums(), numpy64(center.value), log)
            return found.rows(slice(len(span)))
        try:
            numbers = finished(center, tally.parts, self.samples, size)
        except FloatingPointError:
            raise self.reading.broken() from None
        outputs, count = center.value.shape
        answer = self.reading.answer(numbers, count, outputs, self.samples)
        return answer.rows(slice(len(span)))

    @torch.inference_mode()
    def _hidden(self, rows: Tensor) -> Tensor:
        return through_trunk(self.engine.layout, rows)

    def _block(self, rows: Tensor, span: range, ends: tuple[int, ...]) -> Iterator[Statistics]:
        hidden = self._hidden(rows)
        sums: Sums | None = None
        start = 0
        for end in ends:
            size = group_size(end)
            value, log, part = self._sum(hidden, range(start, end), span, size)
            sums, start = part if sums is None else sums.then(part, size), end
            stats = self.reading.finish(sums, value, log)
            yield stats if len(stats) == len(span) else stats.rows(slice(len(span)))

    def _until(self, rows: Tensor, tolerance: float) -> Statistics:
        hidden = self._hidden(rows)
        left, done = np.arange(len(rows)), np.zeros(len(rows), bool)
        places, parts = [], []
        sums: Sums | None = None
        start = 0
        for end in _steps(self.samples):
            size, span = group_size(end), range(len(left))
            value, log, part = self._sum(hidden, range(start, end), span, size)
            sums, start = part if sums is None else sums.then(part, size), end
            stats = self.reading.finish(sums, value, log).rows(slice(len(left)))
            fresh = ~done[left] & (stats.settled(tolerance) | (end == self.samples))
            found = stats.rows(np.flatnonzero(fresh))
            parts.append(replace(found, passes=np.full(len(found), end)))
            places.append(left[fresh])
            done[left[fresh]] = True
            if done.all():
                break
            # settled rows stay beside unsettled ones where else too few would be left
            kept = np.sort(np.argsort(done[left], kind="stable")[: max(LEAST, (~done).sum())])
            if len(kept) < len(left):
                hidden, sums, left = hidden[kept], sums.rows(kept), left[kept]
        return join(parts).rows(np.argsort(np.concatenate(places)))

    def _sample(self, rows: Tensor, span: range) -> Tensor:
        hidden = self._hidden(rows[span.start : span.stop])
        blocks = self._evaluate(hidden, range(self.samples), span)
        _, first = next(blocks)
        temperature = self.reading.scale(first.shape[1])
        outputs = first.repeat(self.samples, 1, 1)  # (T, C, B)
        for passes, block in blocks:
            outputs[passes] = block
        if temperature is not None:
            outputs = torch.softmax(outputs / temperature, dim=1)
            outputs.clamp_(min=torch.finfo(outputs.dtype).tiny)  # as the kernel: no logarithm of 0
        return outputs[..., : len(span)].transpose(1, 2)  # (T, B, C)

    @torch.inference_mode()
    def _sum(
        self, hidden: Tensor, passes: range, span: range, size: int
    ) -> tuple[Array, Array | None, Sums]:
        """What deviations are taken from, its logarithm, and sums in groups of ``size``."""
        native = self.engine.native
        if native and not self.reading.learned and hidden.dim() == 2:
            temperature = self.reading.scale(native.outputs)
            return native.sums(hidden[: len(span)], temperature, passes, span, size)
        center, tally = self._tally(hidden, passes, span, size)
        log = None if center.log is None else numpy64(center.log)
        return numpy64(center.value), log, tally.sums()

    def _tally(self, hidden: Tensor, passes: range, span: range, size: int) -> tuple[Center, Tally]:
        """What deviations are taken from, and sums in groups of ``size``, on the device."""
        blocks = self._evaluate(hidden, passes, span)
        _, first = next(blocks)
        center = Center.of(first[0], self.reading.scale(first.shape[1]))
        tally = Tally(center, len(passes), size)
        for places, outputs in blocks:
            tally.add(places, outputs)
        return center, tally

    def _evaluate(
        self, hidden: Tensor, passes: range, span: range
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What the engine gives; logarithms of variances made variances."""
        for places, outputs in self.engine.evaluate(hidden, passes, span):
            if not self.reading.learned:
                yield places, outputs
                continue
            if outputs.shape[1] % 2:
                raise NetworkError(
                    f"a learned variance needs a second output for each mean, the network has "
                    f"{outputs.shape[1]} outputs"
                )
            means, logs = outputs.chunk(2, dim=1)  # (t, C, B) each
            yield places, torch.cat([means, logs.clamp(-_LOGS, _LOGS).exp()], dim=1)


def _steps(samples: int) -> Iterator[int]:
    """Numbers of passes to look after: whole blocks of balanced masks, each up to 3/2 the last."""
    end = BLOCK
    while end < samples:
        yield end
        end += max(BLOCK, end // 2 // BLOCK * BLOCK)
    yield samples
