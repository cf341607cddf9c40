"""The rows: where they come from, how they are split, and how a training row may be changed."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mcdrop.recipe.section import Section

__all__ = ["EXAMPLES_LIMIT", "AugmentationRecipe", "DataRecipe"]

EXAMPLES_LIMIT = 64
"""Rows that a version may keep for people to try it on."""

_SYNTHETIC = ("linear", "curve", "line", "sparse")


class DataRecipe(Section):
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
    examples: int | None = Field(
        None,
        ge=0,
        le=EXAMPLES_LIMIT,
        description="images: test rows to keep with the version, as samples on the page; whoever "
        "may ask the model may see them. None: 16 of a named set, none of your own files",
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


class AugmentationRecipe(Section):
    """Pictures: how a training row may be changed without becoming another thing."""

    flip: bool = Field(False, description="mirror half of the pictures left to right")
    shift: int = Field(
        0, ge=0, description="pixels a picture may move along each axis; its edge is repeated"
    )

    def __bool__(self) -> bool:
        return self.flip or self.shift > 0
