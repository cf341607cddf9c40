"""The bodies of answers: every number with its meaning and unit.

Knows JSON and what each field means to a caller. Refuses to know how the numbers are computed.
Answers hold finite numbers only, by type.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

__all__ = [
    "Classification",
    "ClassificationRow",
    "Column",
    "DeterministicClass",
    "DeterministicOutput",
    "Failure",
    "Interval",
    "ModelList",
    "ModelVersion",
    "PredictResponse",
    "Regression",
    "RegressionRow",
    "Variances",
]

_NOVELTY = (
    "share of calibration rows whose epistemic uncertainty is below this row's; a row with "
    "`unknown` columns ranks above every row without"
)
_UNKNOWN = (
    "columns of a record that hold what training never met: a label it did not learn, a number "
    "farther outside the training rows' range than that is wide, or no value where no training row "
    "missed it; or all that are missing, where no training row missed so many. The rest of the "
    "answer does not know of them, and is not to be trusted."
)

PerClass = dict[str, FiniteFloat]
PerTarget = dict[str, FiniteFloat]


class Variances(BaseModel):
    """The same split as variances of the one-hot class: total = aleatoric + epistemic."""

    total: FiniteFloat = Field(description="1 - sum of squared mean probabilities")
    aleatoric: FiniteFloat = Field(description="mean over passes of 1 - sum of p²")
    epistemic: FiniteFloat = Field(description="sum over classes of the variance over passes")


class DeterministicClass(BaseModel):
    """The answer of the network with dropout off."""

    prediction: str = Field(description="the most probable class")
    probabilities: PerClass = Field(description="probability of each class")


_SAMPLES = "passes this row took, where `samples` was `auto`"
_PASSES = "every pass's answer, (T, C), where `passes` was asked for"


def _all_optional(schema: dict[str, Any]) -> None:
    """A request says by `fields` which it wants."""
    schema.pop("required", None)


_chosen = ConfigDict(json_schema_extra=_all_optional)


class ClassificationRow(BaseModel):
    """What T passes say about the class of one row. Entropies are in nats."""

    model_config = _chosen

    prediction: str = Field(description="the class most probable on average over passes")
    confidence: FiniteFloat = Field(
        description="1 - total variance / (1 - 1/C): 1 for a certain answer, 0 for the uniform one"
    )
    agrees: bool = Field(description="whether the answers with and without dropout coincide")
    abstain: bool = Field(
        description="whether the confidence is too low for answered rows to stay within `risk`, or "
        "a column is `unknown`"
    )
    novelty: FiniteFloat = Field(description=_NOVELTY)
    unknown: list[str] = Field(description=_UNKNOWN)
    prediction_set: list[str] = Field(
        description="classes that hold the true one with probability `level` (split conformal)"
    )
    total: FiniteFloat = Field(description="entropy of the mean probabilities, in nats")
    aleatoric: FiniteFloat = Field(
        description="mean entropy of the passes, in nats: doubt that lies in the row itself"
    )
    epistemic: FiniteFloat = Field(
        description="mutual information, in nats: how far passes disagree, what the model does "
        "not know"
    )
    variance: Variances
    probabilities: PerClass = Field(description="mean probability of each class")
    std: PerClass = Field(description="standard deviation of each probability over passes")
    mc_error: PerClass = Field(
        description="standard error of each mean probability, from T passes instead of infinitely "
        "many"
    )
    deterministic: DeterministicClass
    samples: int | None = Field(None, description=_SAMPLES)
    passes: list[list[FiniteFloat]] | None = Field(None, description=_PASSES)


class Interval(BaseModel):
    """The split conformal interval: it holds the true value with probability `level`."""

    lower: FiniteFloat
    upper: FiniteFloat


class DeterministicOutput(BaseModel):
    """The answer of the network with dropout off."""

    mean: PerTarget = Field(description="each target, in its own unit")


class RegressionRow(BaseModel):
    """What T passes say about the targets of one row, in the targets' own units."""

    model_config = _chosen

    mean: PerTarget = Field(description="mean over passes")
    std: PerTarget = Field(description="standard deviation of the prediction: sqrt(total)")
    interval: dict[str, Interval | None] = Field(
        description="conformal interval; null where calibration rows are too few for `level`"
    )
    novelty: FiniteFloat = Field(description=_NOVELTY)
    unknown: list[str] = Field(description=_UNKNOWN)
    confidence: PerTarget = Field(
        description="1 - total / variance of the training target, at least 0"
    )
    total: PerTarget = Field(description="variance of the prediction: aleatoric + epistemic")
    aleatoric: PerTarget = Field(description="variance of the noise: 1/tau, or learned")
    epistemic: PerTarget = Field(description="variance of the passes' answers")
    mc_error: PerTarget = Field(
        description="standard error of the mean, from T passes instead of infinitely many"
    )
    deterministic: DeterministicOutput
    samples: int | None = Field(None, description=_SAMPLES)
    passes: list[list[FiniteFloat]] | None = Field(None, description=_PASSES)


class _Answer(BaseModel):
    model: str = Field(description="model that answered")
    version: int = Field(description="its version")
    samples: int = Field(description="T, passes per row")
    seed: int = Field(description="seed the passes were drawn from")
    level: FiniteFloat = Field(description="probability that sets and intervals hold the truth")


class Classification(_Answer):
    """Answers of a classifier, one a row, in the order of the rows."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "cats-and-dogs",
                "version": 3,
                "samples": 100,
                "seed": 0,
                "level": 0.9,
                "risk": 0.05,
                "task": "classification",
                "classes": ["cat", "dog"],
                "predictions": [
                    {
                        "prediction": "dog",
                        "confidence": 0.36,
                        "agrees": True,
                        "abstain": False,
                        "novelty": 0.83,
                        "unknown": [],
                        "prediction_set": ["cat", "dog"],
                        "total": 0.5,
                        "aleatoric": 0.42,
                        "epistemic": 0.08,
                        "variance": {"total": 0.32, "aleatoric": 0.26, "epistemic": 0.06},
                        "probabilities": {"cat": 0.2, "dog": 0.8},
                        "std": {"cat": 0.17, "dog": 0.17},
                        "mc_error": {"cat": 0.017, "dog": 0.017},
                        "deterministic": {
                            "prediction": "dog",
                            "probabilities": {"cat": 0.11, "dog": 0.89},
                        },
                    }
                ],
            }
        }
    )

    task: Literal["classification"] = "classification"
    risk: FiniteFloat = Field(description="error rate that rows not abstained from stay within")
    classes: list[str] = Field(description="class labels, in the order of the network's outputs")
    predictions: list[ClassificationRow]


class Regression(_Answer):
    """Answers of a regression, one a row, in the order of the rows."""

    task: Literal["regression"] = "regression"
    targets: list[str] = Field(description="names of the targets")
    predictions: list[RegressionRow]


PredictResponse = Annotated[Classification | Regression, Field(discriminator="task")]
"""The answer's body; `task` tells which."""


class Column(BaseModel):
    """A column that records may have."""

    name: str
    kind: Literal["number", "category"]
    categories: list[str] | None = Field(
        default=None,
        description="categories that were learned; any other is `unknown`, or, where training had "
        "enough rare ones, taken for one of these",
    )
    minimum: FiniteFloat | None = Field(
        default=None,
        description="numbers: least value of the training rows; of a model that does not know it, "
        "the mean less three standard deviations",
    )
    maximum: FiniteFloat | None = Field(
        default=None, description="numbers: greatest value of the training rows, likewise"
    )
    mean: FiniteFloat | None = Field(default=None, description="numbers: mean of the training rows")


class ModelVersion(BaseModel):
    """A version of a model, and what it takes."""

    name: str
    version: int
    latest: bool = Field(description="whether requests without `version` are answered by it")
    description: str
    task: Literal["classification", "regression"]
    classes: list[str] = Field(description="class labels; none for a regression")
    targets: list[str] = Field(description="targets of a regression; none for a classification")
    samples: int = Field(description="T where a request does not say")
    shape: list[int] | None = Field(description="shape of a row of `inputs`; null for tables")
    minimum: FiniteFloat | None = Field(
        description="least value of the raw unit of `inputs`, 0 for pixels; null for tables"
    )
    maximum: FiniteFloat | None = Field(
        description="greatest value of the raw unit of `inputs`, 255 for pixels; null for tables"
    )
    columns: list[Column] | None = Field(description="columns of `records`; null for arrays")
    metrics: dict[str, dict[str, float]] = Field(
        description="scores on the test rows, of the deterministic answer and of the MC answer"
    )


class ModelList(BaseModel):
    """Every version of every model that can be asked."""

    models: list[ModelVersion]


class Failure(BaseModel):
    """Why a request was not answered."""

    detail: str = Field(
        description="what came, what was wanted",
        examples=["inputs[0][3]: input should be a valid number"],
    )
