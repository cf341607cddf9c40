"""The body of a request: its fields, bounds and units.

Knows JSON and what each field means to a caller. Refuses to know models, networks and HTTP
statuses. Strict: a text is no number, and an unknown field is refused, not ignored. Checks stop
at the first fault, so that a body of a million faults does not become a million messages.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from mcdrop.recipe import SAMPLES_LIMIT
from mcdrop_service.limits import ROWS, SEED

__all__ = ["ROW_FORMS", "Options", "PredictRequest"]


def _check_records(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row, record in enumerate(records):
        for column, value in record.items():
            fault = _fault(value)
            if fault:
                raise ValueError(f"row {row}, column {column[:80]!r}: {fault}")
    return records


def _fault(value: object) -> str | None:
    """What is wrong with the value of a column."""
    if value is None or isinstance(value, str | bool):
        return None
    if not isinstance(value, int | float):
        kind = "an array" if isinstance(value, list) else "an object"
        return f"got {kind}, wanted a number, a text, true, false or null"
    try:
        return None if math.isfinite(value) else "got NaN or infinity, wanted a finite number"
    except OverflowError:
        return "got an integer too large, wanted a finite number"


Probability = Annotated[float, Field(strict=True, gt=0, lt=1)]
_first = Field(fail_fast=True)

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Numbers = Annotated[list[Number], _first]
Grid = Annotated[list[Numbers], _first]
Colors = Annotated[list[Grid], _first]
Row = Annotated[Numbers | Grid | Colors, Field(union_mode="left_to_right")]
Rows = Annotated[list[Row], _first]

Value = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": t} for t in ("number", "string", "boolean", "null")]})
]
Records = Annotated[list[dict[str, Value]], _first, AfterValidator(_check_records)]
Text = Annotated[StrictStr, Field(max_length=128)]  # what was read is kept for the next to say it
Names = Annotated[list[Text], Field(min_length=1, max_length=32, fail_fast=True)]


class Options(BaseModel):
    """What to ask about rows, however the rows come."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Text | None = Field(
        None, description="Model to ask; may be left out where there is only one."
    )
    version: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)] | None = Field(
        None, description="Version of the model; the served one by default."
    )
    samples: Annotated[StrictInt, Field(ge=1, le=SAMPLES_LIMIT)] | Literal["auto"] | None = Field(
        None,
        description="T, the stochastic passes; the model's own number by default. `auto` takes as "
        "many as each row needs, 1,000 at most, or fewer where rows are many or the model large.",
    )
    tolerance: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = Field(
        None,
        description="With `samples` `auto`, and for streams: Monte Carlo error at which a row's "
        "passes are enough, of a probability, or of a mean as a share of its std; .01 for `auto`.",
    )
    seed: StrictInt = Field(
        0, ge=0, le=SEED, description="Draws the T thinned networks: same seed, same answer."
    )
    level: Probability | None = Field(
        None,
        description="Probability with which prediction sets and intervals hold the truth; the "
        "model's own by default.",
    )
    risk: Probability | None = Field(
        None,
        description="Classification: error rate among answered rows, beyond which `abstain` is "
        "true; the model's own by default.",
    )
    fields: Names | None = Field(
        None, description="Fields of a row to answer with; all by default."
    )
    passes: StrictBool = Field(
        False, description="Whether to answer with every single pass too, as `passes`."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, body: Any) -> Any:
        names = body if isinstance(body, dict) else ()
        unknown = next((name for name in names if name not in cls.model_fields), None)
        if unknown is not None:
            known = ", ".join(cls.model_fields)
            raise ValueError(f"got an unknown field {unknown[:80]!r}, wanted some of {known}")
        return body

    @model_validator(mode="after")
    def _check_tolerance(self) -> Self:
        if self.samples == "auto" and self.passes:
            raise ValueError("got `passes` with `samples` `auto`, wanted a number of samples")
        return self

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that were given, as fields of an `Ask`."""
        given = {name: self.__dict__[name] for name in self.model_fields_set & _OPTIONS}
        if given.get("fields") is not None:
            given["fields"] = tuple(dict.fromkeys(given["fields"]))
        return given


_OPTIONS = frozenset(Options.model_fields)


class PredictRequest(Options):
    """Rows to answer for, as `inputs`, `records` or `images`, and what to ask."""

    inputs: Rows | None = Field(
        None,
        min_length=1,
        description="Rows of numbers in the raw unit the model was trained on (pixels 0 to 255, "
        "say), each flat or nested in the model's shape. For models of arrays, and for tables "
        "whose columns are all numeric.",
    )
    records: Records | None = Field(
        None,
        min_length=1,
        description="Rows as `{column: value}`, for models of tables; null, or a column left out, "
        "is a missing value.",
    )
    images: Annotated[list[StrictStr], _first] | None = Field(
        None,
        min_length=1,
        description="Rows as PNG or JPEG files in base64, for models of images; brought to "
        "the model's size, and to gray unless its rows have an axis of 3 colors, first or last.",
    )

    @model_validator(mode="before")
    @classmethod
    def _check_count(cls, body: Any, info: ValidationInfo) -> Any:
        """Refuse too many rows before one is looked at; the context says how many may come."""
        most = (info.context or {}).get("rows", ROWS)
        for name in ROW_FORMS if isinstance(body, dict) else ():
            rows = body.get(name)
            if isinstance(rows, list) and len(rows) > most:
                raise ValueError(f"{name}: got {len(rows)} rows, wanted at most {most}")
        return body

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        came = [name for name in ROW_FORMS if getattr(self, name) is not None]
        if len(came) != 1:
            raise ValueError(
                f"got {' and '.join(f'`{n}`' for n in came) or 'no rows'}, wanted one of `inputs`: "
                "rows of numbers, `records`: rows of named columns, and `images`: files in base64"
            )
        return self


ROW_FORMS = ("inputs", "records", "images")
"""Fields of a request that hold rows, one of which is given."""
