"""Corrections and guarantees, from rows that training did not see, kept with the model.

Knows what a card says of corrections, and what calibration rows promise about rows to come.
Refuses to know how corrections are fitted (`mcdrop.corrections`), files and networks.
"""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mcdrop import abstention, conformal
from mcdrop.errors import InputError
from mcdrop.predictions import Predictions, extend
from mcdrop.recipe import CalibrationRecipe
from mcdrop.uncertainty import Classification, Regression

__all__ = ["RISKS", "Calibration", "Promise", "Reference", "row_epistemic", "row_strangeness"]

RISKS = (0.01, 0.02, 0.05, 0.1)
"""Error rates whose thresholds a card states."""

_ULPS = 2.0**-22  # of a mean, by which rounding may part equal rows
_MOST = np.finfo(np.float64).max
_KEPT = 256  # callers choose levels and risks: what is found for them must not pile up

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Variance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Promise(BaseModel):
    """What is answered at a risk: rows of at least this confidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: float = Field(description="error rate among answered rows to stay within")
    threshold: float | None = Field(description="least confidence answered; null: none")
    answered: float = Field(description="share of the calibration rows answered")
    bound: float | None = Field(
        description="Clopper-Pearson upper bound of their error rate, 90 % one-sided"
    )


class Calibration(BaseModel):
    """Corrections of a model's answers, as its card states them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(1.0, gt=0, description="divides the logits before averaging")
    spread: float = Field(
        1.0,
        gt=0,
        le=1,
        description="classification: share of dropout's variance p / (1 - p) that passes keep",
    )
    noise: tuple[Variance, ...] = Field(
        (), description="regression: 1/tau of each target; none where the variance is learned"
    )
    target_variance: tuple[Variance, ...] = Field(
        (), description="regression: variance of each target among the training rows"
    )
    notes: tuple[str, ...] = Field((), description="what was fitted, and what was left alone")
    promises: tuple[Promise, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for `mcdrop.Posterior` of the network at this `spread`."""
        if not self.target_variance:
            return {"temperature": self.temperature}
        target = {"target_variance": np.array(self.target_variance)}
        if not self.noise:
            return {"variance": "learned", **target}
        return {"aleatoric": np.array(self.noise), **target}


@dataclass(frozen=True)
class Reference:
    """What the model made of its calibration rows, for sets, novelty and abstention.

    Attributes:
        recipe: which sets and intervals.
        scores: conformal scores of the truth, (n,) for classes, (n, C) for targets.
        epistemic: `row_strangeness` of each calibration row, (n,), ascending.
        labels: true classes (n,); empty for a regression.
        confidence: (n,), -inf where a cell is unknown; empty for a regression.
        errors: whether each calibration row was answered wrongly, (n,); empty for a regression.
        pilot_confidence: of the validation rows, which order the tests of `abstention`; of those
            without unknown cells.
        pilot_errors: of the same rows.
    """

    recipe: CalibrationRecipe
    scores: Floats
    epistemic: Floats
    labels: NDArray[np.int64]
    confidence: Floats
    errors: NDArray[np.bool_]
    pilot_confidence: Floats
    pilot_errors: NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "epistemic", _shortened(self.epistemic))  # of older versions too

    @classmethod
    def measure(
        cls,
        recipe: CalibrationRecipe,
        answer: Classification | Regression,
        truth: NDArray[Any],
        pilot: Classification | Regression,
        pilot_truth: NDArray[Any],
        unknown: Flags | None = None,
        pilot_unknown: Flags | None = None,
    ) -> "Reference":
        """From corrected answers to calibration rows, and to the (pilot) validation rows.

        Rows with an ``unknown`` cell, (n, K), are ranked and abstained from as rows to come will
        be, so that what is promised of these holds.
        """
        unknown = _nothing(answer) if unknown is None else unknown
        epistemic = np.sort(row_strangeness(answer, unknown))
        if isinstance(answer, Regression):
            none = np.empty(0)
            return cls(
                recipe,
                np.abs(truth - answer.mean) / _width(recipe, answer),
                epistemic,
                none.astype(np.int64),
                none,
                none.astype(np.bool_),
                none,
                none.astype(np.bool_),
            )
        known = ~(_nothing(pilot) if pilot_unknown is None else pilot_unknown).any(axis=1)
        scores = conformal.class_scores(answer.mean, recipe.sets)
        return cls(
            recipe,
            np.take_along_axis(scores, truth[:, None], 1)[:, 0],
            epistemic,
            truth,
            np.where(unknown.any(axis=1), -np.inf, answer.confidence),
            answer.prediction != truth,
            pilot.confidence[known],
            (pilot.prediction != pilot_truth)[known],
        )

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, as they are stored."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "recipe"}

    def apply(
        self,
        answer: Classification | Regression,
        level: float | None = None,
        risk: float | None = None,
        *,
        unknown: Flags | None = None,
    ) -> Predictions:
        """``answer`` with sets or intervals, novelty and abstention.

        Args:
            answer: of the corrected posterior.
            level: coverage of sets and intervals, in (0, 1); None takes the recipe's.
            risk: error rate among answered rows, in (0, 1); None takes the recipe's.
            unknown: (B, K), cells that training never met, by `mcdrop.data.preprocessing.Inputs`;
                None: none. A row with one is as novel as can be, and abstained from.

        Raises:
            InputError: level or risk is not a probability, or a regression is asked for a risk.
        """
        level = self.recipe.level if level is None else level
        unknown = _nothing(answer) if unknown is None else unknown
        below = np.searchsorted(self.epistemic, row_strangeness(answer, unknown))
        common = {"novelty": below / max(1, len(self.epistemic)), "unknown": unknown}
        limit = self._limit(level, answer.mean.shape[1])
        if isinstance(answer, Regression):
            if risk is not None:
                raise InputError("a regression has no error rate: leave `risk` out, use `level`")
            half = limit * _width(self.recipe, answer)
            half = half * (1 + conformal.ROUNDING) + _ULPS * np.abs(answer.mean)
            ends = {"lower": answer.mean - half, "upper": answer.mean + half}
            return extend(answer, **ends, **common, level=level)  # type: ignore[no-any-return]
        risk = self.recipe.risk if risk is None else risk
        return extend(  # type: ignore[no-any-return]
            answer,
            prediction_set=conformal.prediction_set(answer.mean, self.recipe.sets, limit),
            **common,
            abstain=(answer.confidence < self.threshold(risk)) | unknown.any(axis=1),
            level=level,
            risk=risk,
        )

    def threshold(self, risk: float) -> float:
        """Least confidence that is answered at ``risk``; infinity if nothing is."""
        if not 0 < risk < 1:
            raise InputError(f"risk {risk} is no probability: give one between 0 and 1, as 0.05")
        pilot = self.pilot_confidence, self.pilot_errors
        find = abstention.threshold
        given = self.confidence, self.errors, pilot, risk
        return float(_kept(self._thresholds, risk, find, *given))

    def promise(self, risk: float) -> Promise:
        """What the card says of ``risk``."""
        limit = self.threshold(risk)
        answered = self.confidence >= limit
        if not answered.any():
            return Promise(risk=risk, threshold=None, answered=0.0, bound=None)
        bound = abstention.clopper_pearson(int(self.errors[answered].sum()), int(answered.sum()))
        return Promise(risk=risk, threshold=limit, answered=float(answered.mean()), bound=bound)

    @cached_property
    def _thresholds(self) -> dict[float, float]:
        return {}

    @cached_property
    def _limits(self) -> dict[float, Any]:
        return {}

    def _limit(self, level: float, outputs: int) -> Any:
        limits = _kept(self._limits, level, self._find_limit, level, outputs)
        if np.isinf(limits).any():
            warnings.warn(
                f"{len(self.scores)} calibration rows are too few for level {level}: sets hold "
                "every class, intervals every value; ask for less, or hold out more rows",
                stacklevel=4,
            )
        return limits

    def _find_limit(self, level: float, outputs: int) -> Any:
        if self.scores.ndim == 2:  # a limit for each target
            return np.array([conformal.quantile(s, level) for s in self.scores.T])
        if self.recipe.conditional:
            groups = (self.scores[self.labels == c] for c in range(outputs))
            return np.array([conformal.quantile(s, level) for s in groups])
        return np.array(conformal.quantile(self.scores, level))


def _kept(values: dict[float, Any], key: float, find: Callable[..., Any], *given: Any) -> Any:
    """The value of ``key``, found anew where it is not among the last few that were asked for."""
    with contextlib.suppress(KeyError):
        return values[key]
    found = find(*given)
    if len(values) >= _KEPT:
        values.clear()
    values[key] = found
    return found


def _width(recipe: CalibrationRecipe, answer: Regression) -> Floats | float:
    return answer.std if recipe.interval == "normalized" else 1.0


def row_epistemic(answer: Classification | Regression) -> Floats:
    """One number a row, (B,): nats, or variances in units of the training target's, averaged."""
    if isinstance(answer, Classification):
        return answer.epistemic
    scale = np.where(answer.target_variance > 0, answer.target_variance, 1.0)
    return np.asarray(np.mean(answer.epistemic / scale, axis=1))


def row_strangeness(answer: Classification | Regression, unknown: Flags) -> Floats:
    """What `Reference.apply` ranks rows by, (B,): `row_epistemic`, or, with a cell unknown, more.

    How passes disagree says nothing of a cell that training never met: the network takes such a
    row for one with an average number, or without a label. So it gets the greatest finite number.
    """
    strange = np.where(unknown.any(axis=1), _MOST, row_epistemic(answer))
    return _shortened(strange)


def _shortened(strange: Floats) -> Floats:
    """To ten binary digits, a thousandth: a row that comes again, alone or beside others, ties.

    Its epistemic uncertainty is the same up to rounding only, which no rank may hang on.
    """
    mantissa, exponent = np.frexp(strange)
    return np.where(strange < _MOST, np.ldexp(np.floor(mantissa * 1024), exponent - 10), strange)


def _nothing(answer: Classification | Regression) -> Flags:
    return np.zeros((len(answer), 0), np.bool_)
