"""The fit: the loss, what is added to it, and the steps down it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mcdrop.recipe.section import Section

__all__ = ["RegularizationRecipe", "TrainingRecipe"]


class RegularizationRecipe(Section):
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


class TrainingRecipe(Section):
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
