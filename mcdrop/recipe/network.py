"""The network: its layers, where it drops units, and what its weights start from."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mcdrop.recipe.section import Section

__all__ = ["NetworkRecipe"]

DropoutRate = Annotated[float, Field(ge=0, lt=1)]


class NetworkRecipe(Section):
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
