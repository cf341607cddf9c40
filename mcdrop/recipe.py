"""What to train: frozen, fully described settings read from TOML.

Knows the fields, their units and their bounds. Refuses to know tensors, files of data and what a
network looks like once it is built. An unknown field is an error, never ignored.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mcdrop.errors import RecipeError

__all__ = [
    "SAMPLES_LIMIT",
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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataRecipe(_Frozen):
    """Where the rows come from and how they are split."""

    source: Literal["digits", "fashion-mnist", "mnist", "table"] = Field(
        description="a named set, or `table` for files of the user's own"
    )
    train: str | None = Field(
        None, description="table: file of training rows (CSV, Parquet or NPZ), under --data-root"
    )
    test: str | None = Field(
        None, description="table: file of test rows; without it `test_share` of `train` is held out"
    )
    target: str | None = Field(
        None, description="table: name of the target column (for NPZ: always `y`)"
    )
    categorical: tuple[str, ...] = Field(
        (), description="table: numeric columns to treat as categories; text columns always are"
    )
    drop: tuple[str, ...] = Field((), description="table: columns to leave out")
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of the training rows held out to stop and to calibrate"
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
        if self.source != "table" and (self.train or self.test or self.target or self.drop):
            raise ValueError("`train`, `test`, `target` and `drop` belong to source 'table' only")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both `mean` and `std`, or neither to have them fitted")
        return self


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
        description="weights: He normal, Glorot uniform, or N(0, 0.01) by standard deviation; "
        "biases start at 0",
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
    """L2 regularization of the weights; biases are never decayed."""

    form: Literal["decoupled", "coupled"] = Field(
        "decoupled",
        description="decoupled: weights shrink by lr * weight_decay a step (Loshchilov & Hutter "
        "2019); coupled: weight_decay * w is added to the gradient",
    )
    weight_decay: float = Field(
        1e-4, ge=0, description="lambda, for a loss that is the mean over the batch"
    )


class TrainingRecipe(_Frozen):
    """How the network is fitted."""

    optimizer: Literal["adam", "sgd"] = Field("adam", description="Adam, or SGD")
    lr: float = Field(1e-3, gt=0, description="learning rate: the highest of the schedule")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="constant, or annealed to 0 along half a cosine, step by step"
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="SGD momentum")
    batch_size: int = Field(128, ge=1, description="rows a step")
    epochs: int = Field(20, ge=1, description="passes over the training rows, at most")
    patience: int = Field(
        5, ge=1, description="epochs without a better validation loss before stopping"
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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.task == "regression" and self.data.source != "table":
            raise ValueError(
                f"source {self.data.source!r} holds classes: task must be 'classification'"
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
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'recipe'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise RecipeError(f"recipe {path} is not valid: {faults}") from None
