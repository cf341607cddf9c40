"""The posterior of a dropout network: T thinned networks drawn from a seed, asked together.

Knows how rows come in and statistics go out, and when the network has changed. Refuses to know
files and HTTP. The network is only read: never switched between modes, never written to.
"""

import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from mcdrop.arguments import bounded, one_of, variances
from mcdrop.engine import Engine, Masks
from mcdrop.engine.answers import Reading, Statistics, Task, join
from mcdrop.engine.passes import Passes
from mcdrop.engine.rows import LEAST, checked, padded, shaped, spans, through_trunk
from mcdrop.errors import InputError
from mcdrop.network import DropoutMLP
from mcdrop.plan import Layout, Stamp, read_layout, try_trunk

__all__ = ["Posterior"]

_FIRST = 8  # passes before the first answer of a stream


class Posterior:
    """T samples of a dropout network, chosen by a seed.

    Rows share their masks (``masks="shared"``): pass t is one thinned network for all rows, the
    same in any batch, order and process, and the first 30 passes of 100 are the 30 of 30. Each
    row's distribution is that of textbook MC dropout, but rows are not independent of each other:
    an average over many rows (a score of a data set) varied 21 to 28 times as much from seed to
    seed as with ``masks="independent"``, where every row (known by its place in the call) has
    masks of its own. ``block=256`` lies between: masks change every 256 rows of a call.

    A weight or buffer that changes is noticed and taken over at the next call, except for changes
    through ``tensor.data`` or a NumPy array over its memory, which PyTorch does not record. Safe
    under threads.

    Args:
        network: a chain of linear, convolution, activation, normalization, pooling, flatten and
            dropout modules, in any mode, ending in logits or outputs: an ``nn.Sequential``, or a
            module of your own whose forward calls one after the other (``F.relu``, ``F.dropout``
            and the like included, as they are when the network is first seen). Before the first
            dropout any module will do that draws no random numbers, which is tried with the first
            rows.
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
        block: rows of a call that share masks; None: all of them. The first block has the masks
            that all rows have without it.
        precision: "auto", or "float32" to compute in nothing coarser.

    Raises:
        InputError: an argument is out of its bounds.
        NetworkError: the network holds a module whose randomness cannot be seen, or makes no vector
            of a row (`predict` and its like raise it too).

    Warns:
        UserWarning: the network has no dropout, or none with a rate above 0.
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
        block: int | None = None,
        precision: Literal["auto", "float32"] = "auto",
    ) -> None:
        self.network = network
        self.samples = bounded("samples", samples, 1, 1_000_000)
        self.seed = bounded("seed", seed, 0, 2**64 - 1)
        one_of("task", task, (None, "classification", "regression"))
        one_of("masks", masks, ("shared", "independent"))
        one_of("precision", precision, ("auto", "float32"))
        self.block = None if block is None else bounded("block", block, 1, 2**32)
        if block is not None and masks == "independent":
            raise InputError("masks independent for each row have no block: leave one of them out")
        if not (np.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature {temperature} must be a finite number above 0")
        one_of("variance", variance, ("constant", "learned"))
        if variance == "learned" and task != "regression":
            raise InputError("variance 'learned' needs task 'regression'")
        self.temperature, self.variance = float(temperature), variance
        self.aleatoric = variances("aleatoric", aleatoric)
        self.target_variance = variances(
            "target_variance", 0.0 if target_variance is None else target_variance
        )
        self.precision = precision
        self._reading = Reading(
            task, self.temperature, variance == "learned", self.aleatoric, self.target_variance
        )
        self._masks = Masks(self.seed, masks)
        self._lock = threading.Lock()
        self._stamp = Stamp(network)  # first, so that a change meanwhile is noticed later
        self._passes = self._start()
        self._tried: Layout | None = None
        # Of a DropoutMLP, rates of 0 were asked for by name.
        if not (self._passes.engine.layout.stages or isinstance(network, DropoutMLP)):
            warnings.warn(
                f"{type(network).__name__} drops nothing: all passes are alike, and no answer is "
                "in doubt; give its dropouts a rate above 0, and train with them",
                stacklevel=2,
            )

    @property
    def task(self) -> Task | None:
        """What the outputs mean; None where only running the network can tell."""
        outputs = self._passes.engine.layout.outputs
        return self._reading.task if outputs is None else self._reading.of(outputs)

    @property
    def engine(self) -> Literal["native", "torch", "triton"]:
        """What computes `predict` and `stream`.

        The compiled kernel ("native"), that of a GPU ("triton"), or products of PyTorch ("torch").
        """
        return self._current().engine.name if self.variance == "constant" else "torch"

    def predict(self, x: ArrayLike | Tensor) -> Statistics:
        """Summarize T passes over the rows of ``x``.

        Args:
            x: (B, D) or (B, ...), finite numbers; B may be 0.

        Returns:
            `Classification` or `Regression` of B rows.

        Raises:
            InputError: ``x`` has the wrong shape, or a row that is not finite.
        """
        passes = self._current()
        rows = shaped(x, passes.engine.layout)
        if self.block is None and passes.takes(rows):
            return passes.answer(rows)
        return join([passes.answer(part) for passes, part in self._open(rows)])

    def stream(self, x: ArrayLike | Tensor) -> Iterator[Statistics]:
        """Summarize the first 8, 16, 32, ... passes, and finally all T; as in `predict`.

        Each answer is what `predict` would give with that many samples; all together cost little
        more than the last.
        """
        ends = [_FIRST << k for k in range(20) if _FIRST << k < self.samples]
        streams = [passes.stream(rows, (*ends, self.samples)) for passes, rows in self._open(x)]
        for _ in range(len(ends) + 1):
            yield join([next(stream) for stream in streams])

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
        answer = join([passes.until(rows, tolerance) for passes, rows in self._open(x)])
        most = int(answer.passes.max(initial=0)) if answer.passes is not None else 0
        return replace(answer, samples=most)

    def sample(self, x: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Give every pass: (T, B, C) probabilities, or outputs of a regression.

        Where the variance is learned, (T, B, 2 C): means, then variances.

        Raises:
            InputError: as in `predict`.
        """
        return np.concatenate([passes.sample(rows) for passes, rows in self._open(x)], axis=1)

    def _start(self) -> Passes:
        layout = read_layout(self.network)
        engine = Engine(
            layout,
            self._masks,
            self.samples,
            classification=self._reading.of(layout.outputs or 2) == "classification",
            precision=self.precision,
        )
        return Passes(engine, self._reading, self.samples)

    def _open(self, x: ArrayLike | Tensor) -> list[tuple[Passes, Tensor]]:
        """Passes of the network as it is now, and rows that they can take, block by block."""
        passes = self._current()
        layout = passes.engine.layout
        rows = checked(x, layout)
        if layout.unknown and self._tried is not layout:
            few = padded(rows[:LEAST]).to(layout.device, layout.dtype)
            with torch.inference_mode():
                through_trunk(layout, few)  # says what is wrong with the rows, if anything
            try_trunk(layout, few)
            self._tried = layout
        if self.block is None:
            return [(passes, rows)]
        parts = [rows[span.start : span.stop] for span in spans(len(rows), self.block)]
        others = (passes.under(replace(self._masks, row=i)) for i in range(1, len(parts)))
        return list(zip([passes, *others], parts, strict=True))

    def _current(self) -> Passes:
        """Passes of the network as it is now."""
        with self._lock:
            if not self._stamp.fits(self.network):
                now = Stamp(self.network)  # first, so that a change meanwhile is noticed later
                self._passes, self._stamp = self._start(), now
            return self._passes
