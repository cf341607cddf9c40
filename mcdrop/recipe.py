"""What to train: frozen, fully described settings read from TOML.

Knows the fields, their units and their bounds. Refuses to know tensors, files of data and what a
network looks like once it is built. An unknown field is an error, never ignored.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from mcdrop.errors import RecipeError

__all__ = [
    "SAMPLES_LIMIT",
    "AugmentationRecipe",
    "CalibrationRecipe",
    "DataRecipe",
    "NetworkRecipe",
    "Recipe",
    "RegularizationRecipe",
    "TrainingRecipe",
    "load_recipe",
]

SAMPLES_LIMIT = 10_000
"""Most passes T that a model is asked for."""

Task = Literal["classification", "regression"]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
_SYNTHETIC = ("linear", "curve", "line", "sparse")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataRecipe(_Frozen):
    """Where the rows come from and how they are split."""

    source: Literal[
        "digits", "fashion-mnist", "mnist", "linear", "curve", "line", "sparse", "table"
    ] = Field(
        description="a named set of images; a synthetic regression (linear: 200 features and 20 "
        "rows; curve: 10 points around 1.5 x; line: 3 x + 2; sparse: 5 of 50 features matter); "
        "or `table` for files of the user's own"
    )
    train: str | None = Field(
        None, description="table: file of training rows (CSV, Parquet or NPZ), under --data-root"
    )
    test: str | None = Field(
        None, description="table: file of test rows; without it `test_share` of `train` is held out"
    )
    validation: str | None = Field(
        None,
        description="table: file of validation rows; without it `validation_share` of `train` is "
        "held out",
    )
    target: str | tuple[str, ...] | None = Field(
        None,
        description="table: name of the target column, or names of a regression's several ones "
        "(for NPZ: always `y`)",
    )
    categorical: tuple[str, ...] = Field(
        (), description="table: numeric columns to treat as categories; text columns always are"
    )
    drop: tuple[str, ...] = Field((), description="table: columns to leave out")
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of the training rows held out to stop training by"
    )
    calibration_share: float = Field(
        0.1, gt=0, lt=1, description="share of the training rows held out to make promises from"
    )
    test_share: float = Field(
        0.2, gt=0, lt=1, description="share of all rows held out, where the source has no test part"
    )
    mean: float | None = Field(
        None, description="images: subtracted after scaling pixels to [0, 1]; None: fitted"
    )
    std: float | None = Field(
        None, gt=0, description="images: divisor after subtracting `mean`; None: fitted"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == "table" and not self.train:
            raise ValueError("source 'table' needs `train`, the file of training rows")
        if self.source != "table" and (
            self.train or self.validation or self.test or self.target or self.drop
        ):
            raise ValueError(
                "`train`, `validation`, `test`, `target` and `drop` belong to source 'table' only"
            )
        if self.validation_share + self.calibration_share >= 1:
            raise ValueError("`validation_share` and `calibration_share` leave nothing to learn")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both `mean` and `std`, or neither to have them fitted")
        return self

    @property
    def synthetic(self) -> bool:
        """Whether the rows are made, from the recipe's seed."""
        return self.source in _SYNTHETIC

    @property
    def target_names(self) -> tuple[str, ...]:
        """The target columns; none where the recipe leaves them to the file."""
        return (self.target,) if isinstance(self.target, str) else self.target or ()


class NetworkRecipe(_Frozen):
    """The shape of the dropout network."""

    hidden: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(
        (256, 128), description="units of each hidden layer"
    )
    dropout: tuple[DropoutRate, ...] | DropoutRate = Field(
        0.5, description="dropout rate after each hidden layer: one number, or one per layer"
    )
    input_dropout: DropoutRate = Field(0.0, description="dropout rate on the network's input")
    activation: Literal["relu", "gelu", "silu", "tanh"] = Field(
        "relu", description="activation after each hidden layer"
    )
    init: Literal["he", "xavier", "normal"] = Field(
        "he",
        description="weights: He normal, Glorot uniform, or normal with `init_std`; biases start "
        "at 0",
    )
    init_std: float = Field(
        0.01, gt=0, description="standard deviation of the weights where init = 'normal'"
    )
    variance: Literal["constant", "learned"] = Field(
        "constant",
        description="regression: one noise variance for all rows, fitted on validation rows, or a "
        "second output per target that learns each row's",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.dropout, tuple) and len(self.dropout) != len(self.hidden):
            raise ValueError(
                f"`dropout` has {len(self.dropout)} rates for {len(self.hidden)} hidden layers: "
                "give one rate, or one per layer"
            )
        return self

    @property
    def rates(self) -> tuple[float, ...]:
        """Dropout rate after each hidden layer, one per layer."""
        if isinstance(self.dropout, tuple):
            return self.dropout
        return (self.dropout,) * len(self.hidden)


class RegularizationRecipe(_Frozen):
    """What is added to the loss of the rows; units of a loss that is the mean over the batch.

    The strengths are never divided by the number of rows. Biases and normalization gains are left
    alone unless ``biases`` asks for them.
    """

    form: Literal["decoupled", "coupled", "penalty"] = Field(
        "decoupled",
        description="L2. decoupled: weights shrink by lr * weight_decay a step (Loshchilov & "
        "Hutter 2019); coupled: weight_decay * w is added to the gradient; penalty: "
        "weight_decay / 2 * ||w||^2 is added to the loss",
    )
    weight_decay: float = Field(1e-4, ge=0, description="L2: lambda of weight_decay / 2 * ||w||^2")
    l1: float = Field(
        0.0,
        ge=0,
        description="L1: strength of l1 * sum |w|; with weight_decay an elastic net",
    )
    proximal: bool = Field(
        False,
        description="L1 by soft-thresholding the weights by lr * l1 after each step, which makes "
        "exact zeros, instead of a term in the loss",
    )
    max_norm: float | None = Field(
        None,
        gt=0,
        description="longest vector of weights into a unit, cut back after each step (Srivastava "
        "2014, section 5.1)",
    )
    biases: bool = Field(False, description="penalize biases and gains as well")


class AugmentationRecipe(_Frozen):
    """Pictures: how a training row may be changed without becoming another thing."""

    flip: bool = Field(False, description="mirror half of the pictures left to right")
    shift: int = Field(
        0, ge=0, description="pixels a picture may move along each axis; its edge is repeated"
    )

    def __bool__(self) -> bool:
        return self.flip or self.shift > 0


class TrainingRecipe(_Frozen):
    """How the network is fitted."""

    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="Adam; AdamW, which is Adam with form = 'decoupled'; or SGD"
    )
    lr: float = Field(1e-3, gt=0, description="learning rate: the highest of the schedule")
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        "constant",
        description="step by step. cosine: half a cosine down to 0 (Loshchilov & Hutter 2017); "
        "one-cycle: from lr / 25 up for 30 % of the steps, then down to lr / 250,000 (Smith & "
        "Topin 2019)",
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="SGD momentum")
    nesterov: bool = Field(False, description="SGD: Nesterov's form of the momentum")
    clip_norm: float | None = Field(
        None, gt=0, description="greatest norm of the whole gradient, scaled down to it"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="classification: share of the truth spread over all classes"
    )
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        None,
        description="classification: weight of each class in the loss, by label, 1 where not "
        "named; balanced: inverse to the class's share of the training rows",
    )
    beta: float = Field(
        0.5,
        ge=0,
        le=1,
        description="learned variance: power of the variance that weighs each row; 0: Gaussian "
        "likelihood, 1: gradients of the mean as under squared error (Seitzer 2022)",
    )
    batch_size: int = Field(128, ge=1, description="rows a step")
    epochs: int = Field(20, ge=1, description="passes over the training rows, at most")
    patience: int = Field(
        5,
        ge=0,
        description="epochs without a better validation loss before stopping; the best epoch's "
        "weights are kept. 0: train all epochs, keep the last",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="matrix products of the passes; bfloat16: torch's autocast, weights and sums "
        "in float32 still",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum):
            raise ValueError("`nesterov` needs optimizer 'sgd' and a `momentum` above 0")
        return self


class CalibrationRecipe(_Frozen):
    """What the model promises of rows to come, from rows held out of training."""

    level: float = Field(
        0.9, gt=0, lt=1, description="probability with which sets and intervals hold the truth"
    )
    risk: float = Field(
        0.05, gt=0, lt=1, description="error rate among answered rows, beyond which to abstain"
    )
    sets: Literal["lac", "aps", "raps"] = Field(
        "lac",
        description="conformal score of prediction sets. lac: smallest sets; aps: sets that adapt "
        "to a row's difficulty; raps: aps for many classes",
    )
    conditional: bool = Field(
        False, description="hold the level for each true class, not only on average"
    )
    interval: Literal["normalized", "absolute"] = Field(
        "normalized",
        description="regression intervals: as wide as the predicted standard deviation says, or "
        "equally wide for all rows",
    )


class Recipe(_Frozen):
    """Everything that decides what is trained, apart from the rows themselves."""

    description: str = Field("", description="one line for people")
    task: Task = Field("classification", description="what the target is: a class or a number")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of split, initialization and training")
    samples: int = Field(
        100,
        ge=1,
        le=SAMPLES_LIMIT,
        description="T: stochastic passes the model is served with by default",
    )
    data: DataRecipe
    network: NetworkRecipe = NetworkRecipe()
    regularization: RegularizationRecipe = RegularizationRecipe()
    training: TrainingRecipe = TrainingRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    calibration: CalibrationRecipe = CalibrationRecipe()
    sweep: dict[str, tuple[JsonValue, ...]] = Field(
        {},
        description="for `mcdrop compare`: values to try by dotted field, as "
        '"regularization.weight_decay" = [0, 3]; several fields are crossed',
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        numbers = self.data.synthetic
        if self.data.source != "table" and numbers != (self.task == "regression"):
            holds, task = ("numbers", "regression") if numbers else ("classes", "classification")
            raise ValueError(f"source {self.data.source!r} holds {holds}: task must be {task!r}")
        if self.task == "classification" and self.network.variance == "learned":
            raise ValueError("network.variance = 'learned' belongs to task 'regression'")
        if self.task == "regression" and (
            self.training.class_weights or self.training.label_smoothing
        ):
            raise ValueError(
                "`class_weights` and `label_smoothing` belong to task 'classification'"
            )
        if self.training.optimizer == "adamw" and self.regularization.form != "decoupled":
            raise ValueError(
                "optimizer 'adamw' decays with form 'decoupled': use 'adam' for others"
            )
        return self


def load_recipe(path: Path) -> Recipe:
    """Read the TOML recipe at ``path``.

    Raises:
        RecipeError: the file is absent, is not TOML, or has a field that is unknown or out of
            bounds; the message names every such field.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RecipeError(
            f"no recipe at {path}: give the path of a TOML recipe, or the name of "
            "a folder of the model repository that holds recipe.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path} cannot be read as a TOML recipe: {error}") from None
    except ValidationError as error:
        faults = "; ".join(map(_fault, error.errors()))
        raise RecipeError(f"recipe {path} is not valid: {faults}") from None


def _fault(fault: ErrorDetails) -> str:
    where = ".".join(map(str, fault["loc"])) or "recipe"
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']}"
    fields = Recipe.model_fields
    sections = [field.annotation for field in fields.values()]
    known = [*fields, *(n for s in sections for n in getattr(s, "model_fields", ()))]
    alike = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
    return f"{where}: there is no such field" + "".join(f", did you mean {n!r}?" for n in alike)
