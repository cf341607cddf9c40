"""The posterior of a dropout network: T thinned networks drawn from a seed, asked together.

Knows how rows come in and statistics go out, and when the network has changed. Refuses to know
files and HTTP. The network is only read: never switched between modes, never written to.
"""

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from torch import Tensor, nn

from mcdrop.engine import Center, Engine, Masks, Sums, Tally, group_size, numpy64
from mcdrop.errors import InputError, NetworkError
from mcdrop.masks import BLOCK
from mcdrop.plan import Layout, read_layout, stamp, try_trunk
from mcdrop.uncertainty import TINY, Classification, DeterministicClasses, Regression

__all__ = ["Posterior"]

_LEAST = 4  # rows from which products of float32 give a row the same bits in any company
_LOGS = 60.0  # logarithms of learned variances are not larger, for float32 to hold them
_FIRST = 8  # passes before the first answer of a stream

Task = Literal["classification", "regression"]
Statistics = Classification | Regression


class Posterior:
    """T samples of a dropout network, chosen by a seed.

    Rows share their masks (``masks="shared"``): pass t is one thinned network for all rows, the
    same in any batch, order and process, and the first 30 passes of 100 are the 30 of 30. Each
    row's distribution is that of textbook MC dropout, but rows are not independent of each other:
    an average over many rows varies more from seed to seed than with ``masks="independent"``,
    where every row (known by its place in the call) has masks of its own.

    A weight or buffer that changes is noticed and taken over at the next call, except for changes
    through ``tensor.data``, which PyTorch does not record. Safe under threads.

    Args:
        network: ``nn.Sequential`` (nested ones and subclasses included) of linear, convolution,
            activation, normalization, pooling, flatten and dropout modules, in any mode, ending
            in logits or outputs. Before the first dropout any module will do that draws no random
            numbers, which is tried with the first rows.
        samples: T, passes per answer.
        seed: key of the masks, 0 <= seed < 2**64.
        task: "classification" or "regression"; without it, one output means regression.
        temperature: divides the logits of a classification's passes; the deterministic answer
            stays the network's own.
        aleatoric: regression: variance of the noise 1/tau, one for all outputs or one for each.
        target_variance: regression: variance of the training target, likewise.
        variance: regression: "constant" (``aleatoric``), or "learned" where the network's outputs
            are C means and then C logarithms of variances; ``aleatoric`` is then the mean over
            passes of the variances, for each row (Kendall & Gal 2017, eq. 9).
        masks: "shared", or "independent" for each row.
        precision: "auto", or "float32" to compute in nothing coarser.

    Raises:
        InputError: an argument is out of its bounds.
        NetworkError: the network holds a module whose randomness cannot be seen (`predict` and
            its like raise it too).
    """

    def __init__(
        self,
        network: nn.Module,
        samples: int = 100,
        seed: int = 0,
        *,
        task: Task | None = None,
        temperature: float = 1.0,
        aleatoric: ArrayLike = 0.0,
        target_variance: ArrayLike | None = None,
        variance: Literal["constant", "learned"] = "constant",
        masks: Literal["shared", "independent"] = "shared",
        precision: Literal["auto", "float32"] = "auto",
    ) -> None:
        self.network = network
        self.samples = _bounded("samples", samples, 1, 1_000_000)
        self.seed = _bounded("seed", seed, 0, 2**64 - 1)
        _one_of("task", task, (None, "classification", "regression"))
        _one_of("masks", masks, ("shared", "independent"))
        _one_of("precision", precision, ("auto", "float32"))
        if not (np.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature {temperature} must be a finite number above 0")
        _one_of("variance", variance, ("constant", "learned"))
        if variance == "learned" and task != "regression":
            raise InputError("variance 'learned' needs task 'regression'")
        self.temperature, self.variance = float(temperature), variance
        self.aleatoric = _variances("aleatoric", aleatoric)
        self.target_variance = _variances(
            "target_variance", 0.0 if target_variance is None else target_variance
        )
        self.precision = precision
        self._task = task
        self._masks = Masks(self.seed, masks)
        self._lock = threading.Lock()
        self._engine, self._stamp = self._start(), stamp(network)
        self._tried: Layout | None = None

    @property
    def task(self) -> Task | None:
        """What the outputs mean; None where only running the network can tell."""
        outputs = self._engine.layout.outputs
        if self._task is not None or outputs is None:
            return self._task
        return "regression" if outputs == 1 else "classification"

    @property
    def engine(self) -> Literal["native", "torch"]:
        """What computes `predict` and `stream`: the compiled kernel, or products of PyTorch."""
        return self._current().name if self.variance == "constant" else "torch"

    def predict(self, x: ArrayLike | Tensor) -> Statistics:
        """Summarize T passes over the rows of ``x``.

        Args:
            x: (B, D) or (B, ...), finite numbers; B may be 0.

        Returns:
            `Classification` or `Regression` of B rows.

        Raises:
            InputError: ``x`` has the wrong shape, or a row that is not finite.
        """
        stages = (self.samples,)
        blocks = [next(stream) for stream in self._streams(x, stages)]
        return _join(blocks)

    def stream(self, x: ArrayLike | Tensor) -> Iterator[Statistics]:
        """Summarize the first 8, 16, 32, ... passes, and finally all T; as in `predict`.

        Each answer is what `predict` would give with that many samples; all together cost little
        more than the last.
        """
        ends = [_FIRST << k for k in range(20) if _FIRST << k < self.samples]
        streams = list(self._streams(x, (*ends, self.samples)))
        for _ in range(len(ends) + 1):
            yield _join([next(stream) for stream in streams])

    def until(self, x: ArrayLike | Tensor, tolerance: float) -> Statistics:
        """Summarize as many of the T passes as each row's mean needs to be certain.

        Passes come in steps, 32 at first; after each, rows whose Monte Carlo errors are small
        enough (`Classification.settled`, `Regression.settled`) are done. A row's answer is what
        `predict` gives with the number of passes in ``passes``, whatever rows are beside it.
        Stopping when the error looks small favors draws where it looks smaller than it is:
        ``python -m benchmarks.stopping`` measures by how much.

        Args:
            x: as in `predict`; masks must be shared.
            tolerance: greatest Monte Carlo error, above 0: of a probability, or of a mean as a
                share of its standard deviation. Rows that do not reach it take all T passes.

        Raises:
            InputError: as in `predict`, or masks are independent, or the tolerance is not above 0.
        """
        if not (np.isfinite(tolerance) and tolerance > 0):
            raise InputError(f"tolerance {tolerance} must be a finite number above 0, as 0.01")
        if not self._masks.shared:
            raise InputError(
                "masks independent for each row cannot be drawn row by row: share them"
            )
        engine, rows = self._open(x)
        spans = _spans(len(rows), engine.rows)
        parts = [self._until(engine, rows[span.start : span.stop], tolerance) for span in spans]
        answer = _join(parts)
        most = int(answer.passes.max(initial=0)) if answer.passes is not None else 0
        return replace(answer, samples=most)

    def _until(self, engine: Engine, x: Tensor, tolerance: float) -> Statistics:
        with torch.inference_mode():
            hidden = _trunk(engine.layout, x)
        left, done = np.arange(len(x)), np.zeros(len(x), bool)
        places, parts = [], []
        sums: Sums | None = None
        center: Center | None = None
        start = 0
        for end in _steps(self.samples):
            size = group_size(end)
            with torch.inference_mode():
                span = range(len(left))
                center, part = self._sum(engine, hidden, range(start, end), span, size, center)
            sums, start = part if sums is None else sums.then(part, size), end
            stats = self._finish(sums, center).rows(slice(len(left)))
            fresh = ~done[left] & (stats.settled(tolerance) | (end == self.samples))
            found = stats.rows(np.flatnonzero(fresh))
            parts.append(replace(found, passes=np.full(len(found), end)))
            places.append(left[fresh])
            done[left[fresh]] = True
            if done.all():
                break
            # settled rows stay beside unsettled ones where else too few would be left
            kept = np.sort(np.argsort(done[left], kind="stable")[: max(_LEAST, (~done).sum())])
            if len(kept) < len(left):
                hidden, sums, center = hidden[kept], sums.rows(kept), center.rows(kept)
                left = left[kept]
        return _join(parts).rows(np.argsort(np.concatenate(places)))

    def sample(self, x: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Give every pass: (T, B, C) probabilities, or outputs of a regression.

        Where the variance is learned, (T, B, 2 C): means, then variances.

        Raises:
            InputError: as in `predict`.
        """
        with torch.inference_mode():
            engine, rows = self._open(x)
            parts = [self._sample(engine, rows, span) for span in _spans(len(rows), engine.rows)]
            return numpy64(torch.cat(parts, dim=1))

    def _sample(self, engine: Engine, rows: Tensor, span: range) -> Tensor:
        hidden = _trunk(engine.layout, rows[span.start : span.stop])
        blocks = self._evaluate(engine, hidden, range(self.samples), span)
        _, first = next(blocks)
        temperature = self._scale(first[0])
        outputs = first.repeat(self.samples, 1, 1)  # (T, C, B)
        for passes, block in blocks:
            outputs[passes] = block
        if temperature is not None:
            outputs = torch.softmax(outputs / temperature, dim=1)
        return outputs[..., : len(span)].transpose(1, 2)  # (T, B, C)

    def _streams(
        self, x: ArrayLike | Tensor, ends: tuple[int, ...]
    ) -> Iterator[Iterator[Statistics]]:
        """One stream of statistics a block of rows."""
        engine, rows = self._open(x)
        for span in _spans(len(rows), engine.rows):
            yield self._block(engine, rows[span.start : span.stop], span, ends)

    def _block(
        self, engine: Engine, x: Tensor, span: range, ends: tuple[int, ...]
    ) -> Iterator[Statistics]:
        with torch.inference_mode():
            hidden = _trunk(engine.layout, x)
        sums: Sums | None = None
        center: Center | None = None
        start = 0
        for end in ends:
            size = group_size(end)
            with torch.inference_mode():
                center, part = self._sum(engine, hidden, range(start, end), span, size, center)
            sums = part if sums is None else sums.then(part, size)
            start = end
            stats = self._finish(sums, center)
            yield stats if len(stats) == len(span) else stats.rows(slice(len(span)))

    def _sum(
        self,
        engine: Engine,
        hidden: Tensor,
        passes: range,
        span: range,
        size: int,
        center: Center | None,
    ) -> tuple[Center, Sums]:
        """Sums of some passes in groups of ``size``, and what deviations are taken from."""
        if self.variance == "constant" and engine.fuses(hidden, span):
            return engine.sums(hidden, passes, span, size, center, self._scale)
        blocks = self._evaluate(engine, hidden, passes, span)
        _, first = next(blocks)
        if center is None:
            center = Center.of(first[0], self._scale(first[0]))
        tally = Tally(center, len(passes), size)
        for places, outputs in blocks:
            tally.add(places, outputs)
        return center, tally.sums()

    def _evaluate(
        self, engine: Engine, hidden: Tensor, passes: range, span: range
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What the engine gives; logarithms of variances made variances."""
        for places, outputs in engine.evaluate(hidden, passes, span):
            if self.variance == "constant":
                yield places, outputs
                continue
            if outputs.shape[1] % 2:
                raise NetworkError(
                    f"a learned variance needs a second output for each mean, the network has "
                    f"{outputs.shape[1]} outputs"
                )
            means, logs = outputs.chunk(2, dim=1)  # (t, C, B) each
            yield places, torch.cat([means, logs.clamp(-_LOGS, _LOGS).exp()], dim=1)

    def _finish(self, sums: Sums, center: Center) -> Statistics:
        value = numpy64(center.value)
        if not math.isfinite(value.sum() + sums.square.sum()):
            raise NetworkError("the network's outputs are not finite: check its weights")
        if self.variance == "learned":
            return sums.heteroscedastic(value, self.target_variance)
        if center.log is None:
            return sums.regression(value, self.aleatoric, self.target_variance)
        answer = sums.classification(value, numpy64(center.log))
        if center.temperature == 1.0:
            return answer
        return replace(answer, deterministic=_untempered(value, center.temperature))

    def _scale(self, outputs: Tensor) -> float | None:
        """The temperature of a classification, None for a regression; ``outputs`` (C, B)."""
        count = len(outputs)
        task = self._task or ("regression" if count == 1 else "classification")
        if task == "classification" and count < 2:
            raise NetworkError(
                f"a classification needs two outputs or more, the network has {count}: give it "
                "one logit a class"
            )
        return None if task == "regression" else self.temperature

    def _start(self) -> Engine:
        layout = read_layout(self.network)
        outputs = layout.outputs or 2
        task = self._task or ("regression" if outputs == 1 else "classification")
        return Engine(
            layout,
            self._masks,
            self.samples,
            classification=task == "classification",
            precision=self.precision,
        )

    def _open(self, x: ArrayLike | Tensor) -> tuple[Engine, Tensor]:
        """The engine of the network as it is now, and rows that it can take."""
        engine = self._current()
        layout = engine.layout
        rows = _rows(x, layout)
        if layout.unknown and self._tried is not layout:
            few = _padded(rows[:_LEAST]).to(layout.device, layout.dtype)
            with torch.inference_mode():
                _trunk(layout, few)  # says what is wrong with the rows, if anything
            try_trunk(layout, few)
            self._tried = layout
        return engine, rows

    def _current(self) -> Engine:
        """The engine of the network as it is now."""
        with self._lock:
            now = stamp(self.network)
            if now != self._stamp:
                self._engine, self._stamp = self._start(), now
            return self._engine


def _untempered(tempered: NDArray[np.float64], temperature: float) -> DeterministicClasses:
    """The probabilities (C, B) at temperature 1: softmax(z) from softmax(z / temperature)."""
    logits = temperature * np.log(np.maximum(tempered, TINY))
    return DeterministicClasses(np.ascontiguousarray(softmax(logits, axis=0).T))


def _join(blocks: list[Statistics]) -> Statistics:
    return blocks[0] if len(blocks) == 1 else type(blocks[0]).concatenate(blocks)  # type: ignore[arg-type]


def _spans(rows: int, size: int) -> Iterator[range]:
    """Blocks of rows; one empty block where there are no rows."""
    for start in range(0, max(rows, 1), size):
        yield range(start, min(start + size, rows))


def _steps(samples: int) -> Iterator[int]:
    """Numbers of passes to look after: whole blocks of balanced masks, each up to 3/2 the last."""
    end = BLOCK
    while end < samples:
        yield end
        end += max(BLOCK, end // 2 // BLOCK * BLOCK)
    yield samples


def _rows(x: ArrayLike | Tensor, layout: Layout) -> Tensor:
    """Check rows; they are not copied, unless PyTorch cannot look at them where they are."""
    try:
        if not isinstance(x, Tensor):
            x = np.asarray(x)
            fit = x.flags.writeable and all(stride >= 0 for stride in x.strides)
            x = x if fit else x.copy()
        rows = torch.as_tensor(x).detach()
    except (TypeError, ValueError) as error:
        raise InputError(f"x is no array of numbers ({error}): give rows of features") from None
    if rows.dim() < 2 or rows.is_complex():
        raise InputError(
            f"got x of shape {tuple(rows.shape)}, wanted (rows, features): one row is x[None]"
        )
    if layout.width is not None:
        rows = rows.flatten(1)
        if rows.shape[1] != layout.width:
            raise InputError(f"got rows of {rows.shape[1]} features, wanted {layout.width}")
    if not math.isfinite(rows.sum().item()) and not torch.isfinite(rows).all():
        bad = (~torch.isfinite(rows.flatten(1)).all(dim=1)).nonzero()[0].item()
        raise InputError(
            f"row {bad} holds NaN or an infinite number: impute or leave out such rows"
        )
    return rows


def _padded(rows: Tensor) -> Tensor:
    """Rows, and rows of zeros up to the least number."""
    missing = _LEAST - len(rows)
    return rows if missing <= 0 else torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


def _trunk(layout: Layout, rows: Tensor) -> Tensor:
    """What the trunk makes of rows, padded."""
    try:
        hidden: Tensor = layout.trunk(_padded(rows).to(layout.device, layout.dtype))
    except RuntimeError as error:
        raise InputError(
            f"the network cannot take rows of shape {tuple(rows.shape[1:])}: {error}"
        ) from None
    return hidden


def _bounded(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or int(value) != value or not low <= value <= high:
        raise InputError(f"{name} {value!r} must be a whole number from {low} to {high}")
    return int(value)


def _one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} {value!r} is not one of {choices}")


def _variances(name: str, value: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim > 1 or not (np.isfinite(array).all() and (array >= 0).all()):
        raise InputError(f"{name} must be variances >= 0, one or one an output: got {value!r}")
    return array
