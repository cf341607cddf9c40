"""Fitting corrections to held-out rows: temperature, spread, noise variance.

Knows passes, answers and truths as arrays, and when a correction is left alone. Refuses to know
networks, files and what is promised (`mcdrop.calibration`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from mcdrop.metrics import gaussian_nll, nll
from mcdrop.uncertainty import TINY

__all__ = [
    "Corrections",
    "FittedTemperature",
    "fit_classes",
    "fit_noise",
    "fit_temperature",
    "narrow",
]

PRIOR_ROWS = 200
"""Rows of labels that the deterministic answer counts for when a temperature is fitted."""
SPREADS = (1.0, 0.5, 0.25, 0.125)
"""Shares of dropout's variance that passes may keep."""
WORSE = 0.002
"""Nats by which the MC answer may be less likely than the deterministic one."""
_NARROW = 1e-3  # of the mean square error, the least noise variance that goes without a note
_NOISE = np.logspace(-6, 1, 281)
_FOLDS = 10
_TEMPERATURES = (0.05, 20.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Corrections:
    """How a classification is corrected, and what the card says of it.

    Attributes:
        temperature: divides the logits before averaging.
        spread: share of dropout's variance that passes keep.
        notes: what was fitted, and what was left alone.
    """

    temperature: float
    spread: float
    notes: tuple[str, ...]


def fit_classes(
    sample: Callable[[float], Floats], labels: NDArray[np.int64], deterministic: Floats
) -> Corrections:
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
    most = nll(deterministic, labels) + WORSE
    tried: dict[float, FittedTemperature] = {}
    for spread in SPREADS:
        tried[spread] = fit_temperature(sample(spread), labels, deterministic)
        if tried[spread].nll <= most:
            break
    else:
        spread = min(tried, key=lambda each: tried[each].nll)
    fitted = tried[spread]
    notes = [fitted.note]
    if spread < 1:
        notes.append(f"dropout keeps {spread:g} of its variance p / (1 - p), for better likelihood")
    if fitted.nll > most:
        notes.append(
            f"the MC answer is worse calibrated than the deterministic one all the same: "
            f"held-out NLL {fitted.nll:.4f} against {most - WORSE:.4f}"
        )
    return Corrections(fitted.temperature, spread, tuple(notes))


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
    plain = samples.mean(0)  # (B, C)
    fitted = plain.copy()  # and so it stays of a lone row
    fold = np.arange(len(labels)) % _FOLDS
    for k in np.unique(fold):
        rest, held = fold != k, fold == k
        if rest.any():
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


def narrow(noise: tuple[float, ...], mean: Floats, targets: Floats) -> tuple[str, ...]:
    """A note for the card where dropout alone is made to explain the errors; else none.

    Args:
        noise: as `fit_noise` gives it.
        mean: predictive means (B, C).
        targets: truth (B, C).
    """
    if all(np.asarray(noise) >= _NARROW * np.mean((targets - mean) ** 2, axis=0)):
        return ()
    return (
        "the passes differ by more than the errors on held-out rows, so next to no noise is left: "
        "where passes agree, intervals are too narrow; lower network.dropout or train longer",
    )
