"""How answers depend on T: what more passes would buy.

Knows prefixes: the first 30 of 100 passes are those of T = 30, so one set of passes gives every
T's answer. Refuses to know pictures.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop import metrics
from mcdrop.calibration import row_epistemic
from mcdrop.evaluation.evidence import Evidence
from mcdrop.metrics import Estimate, estimate
from mcdrop.predictor import Predictor
from mcdrop.recipe import SAMPLES_LIMIT
from mcdrop.uncertainty import (
    Classification,
    Regression,
    summarize_classes,
    summarize_outputs,
)

__all__ = ["measure"]

_ENTRIES = 20_000_000  # passes x rows x outputs held at a time
_ROWS = 2000
_STEPS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_BEYOND = 10  # times as many passes, of another seed, stand for infinitely many

Samples = NDArray[np.float64]
Statistics = Classification | Regression


def measure(evidence: Evidence) -> list[dict[str, Any]]:
    """Scores of the first 1, 2, 3, 5, 10, ... passes and of all T, with intervals.

    ``nll`` and ``ece`` (a regression: ``nll`` and ``rmse``), ``ood_auroc`` by epistemic
    uncertainty where there are strange rows, and ``error``: the mean absolute distance of
    probabilities from those of ten times as many passes of another seed (a regression: of means,
    in predicted standard deviations). On 2,000 rows at most, the same for every T.
    """
    predictor, samples = evidence.predictor, evidence.samples
    few = _some(evidence.x, evidence, 0)
    x, y = evidence.x[few], evidence.rows.truth[few]
    known = predictor.sample(x, samples, evidence.seed)  # (T, B, C)
    strange = None
    if evidence.strange_x is not None:
        rows = evidence.strange_x[_some(evidence.strange_x, evidence, 1)]
        strange = predictor.sample(rows, samples, evidence.seed)
    beyond = min(_BEYOND * samples, SAMPLES_LIMIT)
    limit = predictor.evaluate(x, beyond, evidence.seed + 1).mean
    steps = [t for t in _STEPS if t < samples] + [samples]
    return [
        {
            "samples": t,
            **_scores(_summary(predictor, known[:t]), y, limit),
            **({} if strange is None else _novelty(predictor, known[:t], strange[:t])),
        }
        for t in steps
    ]


def _some(x: NDArray[np.float32], evidence: Evidence, stream: int) -> NDArray[np.int64]:
    """Places of rows to measure on, drawn from the seed, ascending."""
    outputs = evidence.plain.mean.shape[1]
    most = min(_ROWS, max(50, _ENTRIES // (evidence.samples * outputs)))
    generator = np.random.default_rng([evidence.seed, stream])
    return np.sort(generator.permutation(len(x))[:most])


def _summary(predictor: Predictor, samples: Samples) -> Statistics:
    """What ``evaluate`` gives for these passes, but for the deterministic answer."""
    if predictor.card.classes:
        return summarize_classes(samples, samples[0])
    options = predictor.card.calibration.options
    if "variance" in options:
        samples, noise = np.split(samples, 2, axis=2)  # (T, B, C) each
        aleatoric = noise.mean(0)
    else:
        aleatoric = options["aleatoric"]
    return summarize_outputs(samples, samples[0], aleatoric, options["target_variance"])


def _scores(answer: Statistics, y: NDArray[Any], limit: Samples) -> dict[str, Estimate]:
    if isinstance(answer, Classification):
        return {
            "nll": estimate(metrics.nll, answer.mean, y),
            "ece": estimate(metrics.ece, answer.mean, y),
            "error": estimate(np.mean, np.abs(answer.mean - limit)),
        }
    return {
        "nll": estimate(metrics.gaussian_nll, answer.mean, answer.total, y),
        "rmse": estimate(metrics.rmse, answer.mean, y),
        "error": estimate(np.mean, np.abs(answer.mean - limit) / answer.std),
    }


def _novelty(predictor: Predictor, known: Samples, strange: Samples) -> dict[str, Estimate]:
    scores = [row_epistemic(_summary(predictor, samples)) for samples in (known, strange)]
    flags = np.repeat([False, True], [len(score) for score in scores])
    return {"ood_auroc": estimate(metrics.auroc, np.concatenate(scores), flags)}
