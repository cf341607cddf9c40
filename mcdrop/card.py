"""The card of a version: all that a trained model says of itself, and rows to try it on.

Knows the fields, their units and their bounds. Refuses to know where they are kept.
"""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from mcdrop.adopted import Adopted
from mcdrop.calibration import Calibration
from mcdrop.data.preprocessing import Preprocessing
from mcdrop.recipe import Recipe, Task

__all__ = ["Card", "Examples"]

Number = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Card(BaseModel):
    """What a version says of itself. ``name`` and ``version`` are its folders, not in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = Field(description="folder of the model")
    version: int = Field(ge=1, description="folder of the version")
    created: AwareDatetime
    task: Task
    classes: tuple[str, ...] = Field(description="class labels, by index; none for regression")
    targets: tuple[str, ...] = Field(description="target columns of a regression")
    in_features: int = Field(ge=1, description="width of the encoded input")
    samples: int = Field(ge=1, description="T served by default")
    calibration: Calibration
    recipe: Recipe | Adopted
    preprocessing: Preprocessing
    metrics: dict[str, dict[str, Number]] = Field(
        description="scores on the test rows: of the deterministic answer and of the MC answer"
    )
    intervals: dict[str, dict[str, tuple[Number, Number]]] = Field(
        {}, description="95 % intervals of the scores: binomial for shares, else bootstrap"
    )
    rows: dict[str, int] = Field(description="rows of each split")
    notes: tuple[str, ...] = Field((), description="what people should know of the rows")
    data_fingerprint: str = Field(description="SHA-256 over the raw data")
    libraries: dict[str, str] = Field(description="versions of what trained it")
    weights_sha256: Sha256
    reference_sha256: Sha256 = Field(description="of the calibration rows' file")
    examples_sha256: Sha256 | None = Field(
        None, description="of the example rows' file; None where the version has none"
    )

    @property
    def out_features(self) -> int:
        """Width C of the network's output."""
        return len(self.classes) or len(self.targets)


class Examples(BaseModel):
    """Some raw rows of the test part, for people to try the model on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[tuple[Number, ...], ...] = Field((), description="flat, in the model's raw unit")
    labels: tuple[str, ...] = Field((), description="the truth of each row, as text")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.rows) != len(self.labels):
            raise ValueError(f"got {len(self.labels)} labels of {len(self.rows)} rows")
        return self
