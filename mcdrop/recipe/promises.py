"""The promises: what is said of rows to come, and how surely."""

from typing import Literal

from pydantic import Field

from mcdrop.recipe.section import Section

__all__ = ["CalibrationRecipe"]


class CalibrationRecipe(Section):
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
