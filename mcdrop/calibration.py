"""Corrections and guarantees, fitted on rows that training did not see and kept with the model.

Knows answers and truths as arrays: how a temperature and a noise variance are fitted and when
they are left alone, and what calibration rows promise about rows to come. Refuses to know files
and networks.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from mcdrop import abstention, conformal
from mcdrop.errors import InputError
from mcdrop.metrics import gaussian_nll, nll
from mcdrop.predictions import Predictions, extend
from mcdrop.recipe import CalibrationRecipe
from mcdrop.uncertainty import TINY, Classification, Regression

__all__ = [
    "Calibration",
    "FittedTemperature",
    "Promise",
    "Reference",
    "fit_classes",
    "fit_noise",
    "fit_temperature",
    "row_epistemic",
]

_NOISE = np.logspace(-6, 1, 281)
_FOLDS = 10
_TEMPERATURES = (0.05, 20.0)
PRIOR_ROWS = 200
"""Rows of labels that the deterministic answer counts for when a temperature is fitted."""
SPREADS = (1.0, 0.5, 0.25, 0.125)
"""Shares of dropout's variance that passes may keep."""
WORSE = 0.002
"""Nats by which the MC answer may be less likely than the deterministic one."""
RISKS = (0.01, 0.02, 0.05, 0.1)
"""Error rates whose thresholds a card states."""

Floats = NDArray[np.float64]
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
        epistemic: epistemic uncertainty of each calibration row, (n,), ascending.
        labels: true classes (n,); empty for a regression.
        confidence: (n,); empty for a regression.
        errors: whether each calibration row was answered wrongly, (n,); empty for a regression.
        pilot_confidence: of the validation rows, which order the tests of `abstention`.
        pilot_errors: of the validation rows.
    """

    recipe: CalibrationRecipe
    scores: Floats
    epistemic: Floats
    labels: NDArray[np.int64]
    confidence: Floats
    errors: NDArray[np.bool_]
    pilot_confidence: Floats
    pilot_errors: NDArray[np.bool_]

    @classmethod
    def measure(
        cls,
        recipe: CalibrationRecipe,
        answer: Classification | Regression,
        truth: NDArray[Any],
        pilot: Classification | Regression,
        pilot_truth: NDArray[Any],
    ) -> "Reference":
        """From corrected answers to calibration rows, and to the (pilot) validation rows."""
        epistemic = np.sort(row_epistemic(answer))
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
        scores = conformal.class_scores(answer.mean, recipe.sets)
        return cls(
            recipe,
            np.take_along_axis(scores, truth[:, None], 1)[:, 0],
            epistemic,
            truth,
            answer.confidence,
            answer.prediction != truth,
            pilot.confidence,
            pilot.prediction != pilot_truth,
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
    ) -> Predictions:
        """``answer`` with sets or intervals, novelty and abstention.

        Args:
            answer: of the corrected posterior.
            level: coverage of sets and intervals, in (0, 1); None takes the recipe's.
            risk: error rate among answered rows, in (0, 1); None takes the recipe's.

        Raises:
            InputError: level or risk is not a probability, or a regression is asked for a risk.
        """
        level = self.recipe.level if level is None else level
        novelty = np.searchsorted(self.epistemic, row_epistemic(answer)) / max(
            1, len(self.epistemic)
        )
        limit = self._limit(level, answer.mean.shape[1])
        if isinstance(answer, Regression):
            if risk is not None:
                raise InputError("a regression has no error rate: leave `risk` out, use `level`")
            half = limit * _width(self.recipe, answer)
            ends = {"lower": answer.mean - half, "upper": answer.mean + half}
            return extend(answer, **ends, novelty=novelty, level=level)  # type: ignore[no-any-return]
        risk = self.recipe.risk if risk is None else risk
        return extend(  # type: ignore[no-any-return]
            answer,
            prediction_set=conformal.prediction_set(answer.mean, self.recipe.sets, limit),
            novelty=novelty,
            abstain=answer.confidence < self.threshold(risk),
            level=level,
            risk=risk,
        )

    def threshold(self, risk: float) -> float:
        """Least confidence that is answered at ``risk``; infinity if nothing is."""
        if not 0 < risk < 1:
            raise InputError(f"risk {risk} is no probability: give one between 0 and 1, as 0.05")
        if risk not in self._thresholds:
            pilot = self.pilot_confidence, self.pilot_errors
            found = abstention.threshold(self.confidence, self.errors, pilot, risk)
            self._thresholds[risk] = found
        return self._thresholds[risk]

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

    def _limit(self, level: float, outputs: int) -> Any:
        if self.scores.ndim == 2:  # a limit for each target
            limits = np.array([conformal.quantile(s, level) for s in self.scores.T])
        elif self.recipe.conditional:
            groups = (self.scores[self.labels == c] for c in range(outputs))
            limits = np.array([conformal.quantile(s, level) for s in groups])
        else:
            limits = np.array(conformal.quantile(self.scores, level))
        if np.isinf(limits).any():
            warnings.warn(
                f"{len(self.scores)} calibration rows are too few for level {level}: sets hold "
                "every class, intervals every value; ask for less, or hold out more rows",
                stacklevel=4,
            )
        return limits


def fit_classes(
    sample: Callable[[float], Floats], labels: NDArray[np.int64], deterministic: Floats
) -> Calibration:
    """How a classification is corrected: its temperature, and how far its passes may spread.

    Averaging passes that disagree blurs the answer more than any temperature can mend, where
    dropout was meant to train by rather than to predict by (UCI Letter: NLL .14 without dropout,
    .16 with it at the best temperature). So dropout keeps all its variance while the MC answer is
    as likely on held-out rows as the deterministic one, `WORSE` nats aside, and otherwise the
    largest of `SPREADS` that is; the temperature is fitted anew for each.

    Args:
        sample: from a spread to the probabilities of each pass, (T, B, C).
        labels: (B,).
        deterministic: probabilities without dropout, (B, C).
    """
    fixed = nll(deterministic, labels)
    for spread in SPREADS:
        fitted = fit_temperature(sample(spread), labels, deterministic)
        if fitted.nll <= fixed + WORSE:
            break
    notes = [fitted.note]
    if spread < 1:
        notes.append(f"dropout keeps {spread:g} of its variance p / (1 - p), for better likelihood")
    if fitted.nll > fixed + WORSE:
        notes.append(
            f"the MC answer is worse calibrated than the deterministic one all the same: "
            f"held-out NLL {fitted.nll:.4f} against {fixed:.4f}"
        )
    return Calibration(temperature=fitted.temperature, spread=spread, notes=tuple(notes))


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature, the cross-fitted ``nll`` of what is served, and a note for the card."""

    temperature: float
    nll: float
    note: str


def fit_temperature(
    samples: Floats, labels: NDArray[np.int64], deterministic: Floats
) -> FittedTemperature:
    """The temperature that makes the mean over passes most likely, and what to say about it.

    Minimizes the NLL of mean_t softmax(z_t / temperature) (Guo 2017, section 4.2, of the MC mean
    rather than of single passes). A hundred rows with five errors among them say little about a
    temperature, so the deterministic answer is believed as much as `PRIOR_ROWS` labels would be:
    the cross-entropy of the MC mean under it is added with that weight. Guarded by cross-fitting:
    if temperatures fitted on nine tenths of the rows do not make the other tenths likelier, by
    the same weights, the answer stays as it is. The more labels, the more they alone decide.

    The temperature belongs to the T passes of ``samples``: averaging few passes blurs less than
    averaging many, so answers of very different T are corrected a little too much or too little.

    Args:
        samples: probabilities of each pass, (T, B, C).
        labels: (B,).
        deterministic: probabilities without dropout, (B, C).

    Returns:
        The temperature, 1 where the guard refused, and what it is worth.
    """
    logits = np.log(np.maximum(samples, np.finfo(np.float64).tiny))  # (T, B, C)
    beliefs = _beliefs(labels, deterministic)
    plain, fitted = samples.mean(0), np.empty_like(deterministic)  # (B, C)
    fold = np.arange(len(labels)) % _FOLDS
    for k in np.unique(fold):
        rest, held = fold != k, fold == k
        fitted[held] = _tempered(logits[:, held], _best(logits[:, rest], beliefs[rest]))
    before, after = nll(plain, labels), nll(fitted, labels)
    change = f"held-out NLL {before:.4f} -> {after:.4f} (cross-fitted)"
    if _surprise(fitted, beliefs) >= _surprise(plain, beliefs):
        return FittedTemperature(1.0, before, f"temperature 1: fitting one is no gain, {change}")
    best = _best(logits, beliefs)
    return FittedTemperature(best, after, f"temperature {best:.4f}: {change}")


def _beliefs(labels: NDArray[np.int64], deterministic: Floats) -> Floats:
    """What each row is taken to be, (B, C): its label, blended with the deterministic answer."""
    weight = PRIOR_ROWS / (PRIOR_ROWS + len(labels))
    return (1 - weight) * np.eye(deterministic.shape[1])[labels] + weight * deterministic


def _best(logits: Floats, beliefs: Floats) -> float:
    def loss(log_temperature: float) -> float:
        return _surprise(_tempered(logits, float(np.exp(log_temperature))), beliefs)

    found = minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def _surprise(mean: Floats, beliefs: Floats) -> float:
    """Mean cross-entropy in nats of predictions under beliefs, (B, C) each."""
    return float(-np.mean(np.sum(beliefs * np.log(np.maximum(mean, TINY)), axis=1)))


def _tempered(logits: Floats, temperature: float) -> Floats:
    """mean_t softmax(z_t / temperature), (B, C)."""
    return np.asarray(softmax(logits / temperature, axis=2).mean(0))


def fit_noise(mean: Floats, epistemic: Floats, targets: Floats) -> tuple[float, ...]:
    """Noise variance 1/tau of each output, by held-out likelihood.

    Minimizes the mean NLL of N(mean, epistemic + 1/tau) over a log grid of seven decades around
    the residual's mean square, 40 values a decade (tau as in Gal & Ghahramani 2016, eq. 7).

    Args:
        mean: predictive means (B, C).
        epistemic: variances of the pass means (B, C).
        targets: truth (B, C), in the unit of ``mean``.

    Returns:
        C variances, in the target's unit squared.
    """
    noise = []
    for m, v, y in zip(mean.T, epistemic.T, targets.T, strict=True):
        scale = max(float(np.mean((y - m) ** 2)), np.finfo(np.float64).tiny)
        losses = [gaussian_nll(m, v + scale * factor, y) for factor in _NOISE]
        noise.append(scale * float(_NOISE[int(np.argmin(losses))]))
    return tuple(noise)


def _width(recipe: CalibrationRecipe, answer: Regression) -> Floats | float:
    return answer.std if recipe.interval == "normalized" else 1.0


def row_epistemic(answer: Classification | Regression) -> Floats:
    """One number a row, (B,): nats, or variances in units of the training target's, averaged."""
    if isinstance(answer, Classification):
        return answer.epistemic
    scale = np.where(answer.target_variance > 0, answer.target_variance, 1.0)
    return np.asarray(np.mean(answer.epistemic / scale, axis=1))
