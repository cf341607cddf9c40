"""The whole recipe, and what its parts ask of each other."""

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from mcdrop.recipe.fitting import RegularizationRecipe, TrainingRecipe
from mcdrop.recipe.network import NetworkRecipe
from mcdrop.recipe.promises import CalibrationRecipe
from mcdrop.recipe.rows import AugmentationRecipe, DataRecipe
from mcdrop.recipe.section import Section

__all__ = ["SAMPLES_LIMIT", "Recipe", "Task"]

SAMPLES_LIMIT = 10_000
"""Most passes T that a model is asked for."""

Task = Literal["classification", "regression"]


class Recipe(Section):
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
