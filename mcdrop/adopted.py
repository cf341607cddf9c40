"""What a card says of a network that was trained elsewhere: its layers by name and argument.

Knows the fields and their bounds. Refuses to know which layers there are and how they are built
(`mcdrop.layers`): a card is read without PyTorch.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mcdrop.recipe import CalibrationRecipe

__all__ = ["Adopted", "AdoptedNetwork", "Layer"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Layer(_Frozen):
    """A module of ``torch.nn`` and the arguments that make it."""

    kind: str = Field(description="name of the class in torch.nn")
    options: dict[str, JsonValue] = Field({}, description="its keyword arguments")


class AdoptedNetwork(_Frozen):
    """The layers of a network that was trained elsewhere."""

    layers: tuple[Layer, ...] = Field(min_length=1, description="in order")
    variance: Literal["constant", "learned"] = Field(
        "constant", description="regression: whether a second output per target is its log variance"
    )


class Adopted(_Frozen):
    """What stands in a card for the recipe, where the network was not trained by one."""

    description: str = Field("", description="one line for people")
    task: Literal["classification", "regression"]
    seed: int = Field(0, ge=0, lt=2**63, description="parts the held-out rows; draws their masks")
    samples: int = Field(100, ge=1, description="T: stochastic passes served by default")
    network: AdoptedNetwork
    calibration: CalibrationRecipe = CalibrationRecipe()
