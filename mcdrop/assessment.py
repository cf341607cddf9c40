"""What a trained network is worth: corrected, measured, and promised from, on rows held out.

Knows which part of the rows each number comes from: corrections from validation rows, promises
from calibration rows, scores from test rows. Refuses to know how each is computed, and files.
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from mcdrop.adopted import Adopted
from mcdrop.calibration import RISKS, Calibration, Reference
from mcdrop.corrections import fit_classes, fit_noise, narrow
from mcdrop.data.sources import Dataset
from mcdrop.metrics import Estimate, summarize
from mcdrop.network import with_spread
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe
from mcdrop.uncertainty import Classification

__all__ = ["Assessment", "assess"]

_TEMPERATURE_ROWS = 4096  # enough for one number, and their passes fit in memory


@dataclass(frozen=True)
class Assessment:
    """A network's corrections, promises and scores.

    Attributes:
        calibration: corrections, fitted on validation rows.
        reference: calibration rows, for sets, novelty and abstention.
        scores: on test rows, by answer (``deterministic``, ``mc``, ``served``) and name.
    """

    calibration: Calibration
    reference: Reference
    scores: dict[str, dict[str, Estimate]]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """The scores' values."""
        return {
            answer: {name: score.value for name, score in scores.items()}
            for answer, scores in self.scores.items()
        }

    @property
    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """The scores' 95 % intervals."""
        return {
            answer: {name: (score.low, score.high) for name, score in scores.items()}
            for answer, scores in self.scores.items()
        }


def assess(recipe: Recipe | Adopted, dataset: Dataset, network: nn.Sequential) -> Assessment:
    """Fit on validation rows, measure on calibration rows, report on test rows."""
    calibration = _correct(recipe, dataset, network)
    own = with_spread(network, calibration.spread)
    served = _posterior(recipe, own, **calibration.options)
    validation, held_out, test = dataset.validation, dataset.calibration, dataset.test
    reference = Reference.measure(
        recipe.calibration,
        served.predict(held_out.x),
        held_out.y,
        served.predict(validation.x),
        validation.y,
        held_out.unknown,
        validation.unknown,
    )
    scores = summarize(served.predict(test.x), test.y, dataset.targets)
    scores["served"] = scores["mc"]
    if recipe.task == "classification":
        scores["mc"] = summarize(_posterior(recipe, network).predict(test.x), test.y)["mc"]
        promises = tuple(reference.promise(risk) for risk in RISKS)
        calibration = calibration.model_copy(update={"promises": promises})
    return Assessment(calibration, reference, scores)


def _correct(recipe: Recipe | Adopted, dataset: Dataset, network: nn.Sequential) -> Calibration:
    x, y = dataset.validation.x, dataset.validation.y
    plain = _posterior(recipe, network).predict(x)
    if isinstance(plain, Classification):
        few = slice(0, _TEMPERATURE_ROWS)

        def sample(spread: float) -> Any:
            return _posterior(recipe, with_spread(network, spread)).sample(x[few])

        found = fit_classes(sample, y[few], plain.deterministic.probabilities[few])
        return Calibration(**asdict(found))
    calibration = Calibration(target_variance=tuple(dataset.train.y.var(0)))
    if recipe.network.variance == "learned":
        return calibration
    noise = fit_noise(plain.mean, plain.epistemic, y)
    notes = narrow(noise, plain.mean, y)
    return calibration.model_copy(update={"noise": noise, "notes": notes})


def _posterior(recipe: Recipe | Adopted, network: nn.Sequential, **corrections: Any) -> Posterior:
    return Posterior(network, recipe.samples, recipe.seed, task=recipe.task, **corrections)
