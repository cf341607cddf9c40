"""Pictures made worse step by step: does confidence fall with accuracy?

Knows rotation, noise and occlusion of pictures in the model's raw unit. Refuses to know how the
results are drawn.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.evaluation.evidence import Evidence
from mcdrop.metrics import estimate, share
from mcdrop.uncertainty import Classification

__all__ = ["CORRUPTIONS", "corrupt", "study"]

_ROWS = 1000

Pictures = NDArray[Any]
CORRUPTIONS: Mapping[str, tuple[float, ...]] = {
    "rotation": (0, 15, 30, 45, 60, 75, 90, 120, 150, 180),
    "noise": (0, 0.05, 0.1, 0.2, 0.3, 0.5),
    "occlusion": (0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8),
}
"""Strengths: degrees; standard deviation as a share of the unit's range; side of a gray square as
a share of the picture's."""


def study(evidence: Evidence) -> dict[str, list[dict[str, Any]]]:
    """Accuracy, mean confidence and mean epistemic uncertainty at each strength, with intervals.

    On 1,000 rows at most, the same throughout. Empty where the rows are no pictures.
    """
    images, card = evidence.rows.images, evidence.predictor.card
    if images is None or not card.classes or not isinstance(card.preprocessing, ArrayPreprocessing):
        return {}
    few = np.random.default_rng(evidence.seed).permutation(len(images))[:_ROWS]
    images, y = images[few], evidence.rows.truth[few]
    span = card.preprocessing.minimum, card.preprocessing.maximum

    def measured(kind: str, strength: float) -> dict[str, Any]:
        worse = corrupt(images, kind, strength, span, evidence.seed)
        x = card.preprocessing.encode(worse)
        answer = evidence.predictor.evaluate(x, evidence.samples, evidence.seed)
        return {"strength": float(strength), **_numbers(answer, y)}

    return {
        kind: [measured(kind, strength) for strength in strengths]
        for kind, strengths in CORRUPTIONS.items()
    }


def corrupt(
    images: Pictures, kind: str, strength: float, span: tuple[float, float], seed: int = 0
) -> Pictures:
    """Pictures (B, H, W) made worse.

    Args:
        images: in the raw unit.
        kind: a key of `CORRUPTIONS`.
        strength: 0 leaves the pictures as they are.
        span: least and greatest value of the raw unit.
        seed: of noise and of places.
    """
    change: Callable[..., Pictures] = {
        "rotation": _rotated,
        "noise": _noisy,
        "occlusion": _occluded,
    }[kind]
    images = np.asarray(images, np.float64)
    return change(images, strength, span, np.random.default_rng(seed)) if strength else images


def _rotated(images: Pictures, degrees: float, span: tuple[float, float], _: object) -> Pictures:
    """Counterclockwise around the middle, bilinear; corners are filled with the least value."""
    turned: Pictures = ndimage.rotate(
        images, degrees, axes=(2, 1), reshape=False, order=1, cval=span[0]
    )
    return turned


def _noisy(
    images: Pictures, share: float, span: tuple[float, float], generator: np.random.Generator
) -> Pictures:
    noise = generator.normal(scale=share * (span[1] - span[0]), size=images.shape)
    return np.clip(images + noise, *span)


def _occluded(
    images: Pictures, share: float, span: tuple[float, float], generator: np.random.Generator
) -> Pictures:
    """A square of the middle value, anywhere inside each picture."""
    hidden = images.copy()
    height, width = images.shape[1:]
    side = max(1, round(share * min(height, width)))
    tops = generator.integers(0, height - side + 1, len(images))
    lefts = generator.integers(0, width - side + 1, len(images))
    for image, top, left in zip(hidden, tops, lefts, strict=True):
        image[top : top + side, left : left + side] = sum(span) / 2
    return hidden


def _numbers(answer: Any, y: NDArray[np.int64]) -> dict[str, Any]:
    if not isinstance(answer, Classification):
        raise TypeError("the corruption study wants a classification")
    return {
        "accuracy": share(answer.prediction == y),
        "confidence": estimate(np.mean, answer.confidence),
        "epistemic": estimate(np.mean, answer.epistemic),
    }
