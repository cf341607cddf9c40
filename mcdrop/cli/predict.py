"""`mcdrop predict`: one row, answered in the terminal."""

import json
import sys
from os.path import isfile
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from mcdrop.cli.console import say, show
from mcdrop.cli.find import load_predictor
from mcdrop.cli.options import (
    MODELS,
    AutoSamples,
    Model,
    Repository,
    Seed,
    Tolerance,
    Version,
)
from mcdrop.errors import InputError
from mcdrop.later import staying

if TYPE_CHECKING:
    from mcdrop.card import Card
    from mcdrop.predictions import Predictions

__all__ = ["predict"]

_MOST = 5  # classes shown


def predict(
    row: Annotated[
        str, typer.Argument(help="One row as JSON: an array, or an object of columns; - for stdin.")
    ],
    root: Repository = MODELS,
    model: Model = None,
    version: Version = None,
    samples: AutoSamples = None,
    tolerance: Tolerance = None,
    seed: Seed = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with every class.")
    ] = False,
) -> None:
    """Answer for one row, and say how far to trust the answer."""
    with staying():
        from mcdrop.scoring import columns

    predictor = load_predictor(root, model, version)
    card = predictor.card
    asked = _parse_row(row, card)
    answer = predictor.predict([asked], samples, seed, tolerance=tolerance)
    values = {name: _plain(all_[0]) for name, all_ in columns(answer, card, mc_error=True).items()}
    if as_json:
        print(orjson.dumps(values).decode())  # what is not finite becomes null
        return
    title = f"{card.name} version {card.version}, {answer.samples} passes, seed {seed}"
    show(_table(title, values, _unlikely(answer, card)))
    if values.get("unknown"):
        say(
            f"training never met such a value of {', '.join(values['unknown'])}: the rest of the "
            "answer does not know of it, and is not to be trusted"
        )


def _parse_row(text: str, card: "Card") -> Any:
    from mcdrop.data.preprocessing import TablePreprocessing

    text = sys.stdin.read() if text == "-" else text
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        if isfile(text):  # noqa: PTH113 - a Path raises where a text is longer than names are
            raise InputError(
                f"{text} is a file, wanted one row: `mcdrop score {text} -o answers.csv` answers "
                "for what files hold"
            ) from None
        raise InputError(
            f"the row is not JSON ({error}): got {text!r:.60}, wanted {_wanted(card)}"
        ) from None
    step = card.preprocessing
    numbers = len(step.columns) or step.features
    if isinstance(row, dict) and step.columns:
        return row
    if not isinstance(row, list) or (isinstance(step, TablePreprocessing) and step.categorical):
        raise InputError(f"got {text!r:.60}, wanted {_wanted(card)}")
    if (came := _count(row)) != numbers:
        raise InputError(f"got {came} numbers, wanted {numbers}: {_wanted(card)}")
    return row


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else 1


def _wanted(card: "Card") -> str:
    """A row that the model takes, for a message."""
    from mcdrop.data.preprocessing import ArrayPreprocessing

    step = card.preprocessing
    if not isinstance(step, ArrayPreprocessing):
        return f"a row such as {json.dumps(step.example()[0])[:500]}"
    return f"[{step.features} numbers from {step.minimum:g} to {step.maximum:g}]"


def _plain(value: Any) -> Any:
    return value.as_py() if hasattr(value, "as_py") else value.item()


def _unlikely(answer: "Predictions", card: "Card") -> list[str]:
    """The classes that are not among the most probable."""
    if not card.classes:
        return []
    order = (-answer.mean[0]).argsort(kind="stable")
    return [card.classes[i] for i in order[_MOST:]]


def _table(title: str, values: dict[str, Any], unlikely: list[str]) -> Table:
    from mcdrop.scoring.layout import BY_CLASS

    hidden = {f"{key}_{name}" for key in BY_CLASS for name in unlikely}
    more = f"and {len(unlikely)} more classes, less probable: --json has all"
    table = Table(title=title, box=SIMPLE, caption=more if unlikely else None)
    table.add_column("output")
    table.add_column("value", justify="right")
    for name, value in values.items():
        if name not in hidden:
            table.add_row(escape(name), escape(_text(value)))
    return table


def _text(value: Any) -> str:
    if isinstance(value, list):
        rest = f" and {len(value) - _MOST} more" if len(value) > _MOST else ""
        return ", ".join(value[:_MOST]) + rest or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
