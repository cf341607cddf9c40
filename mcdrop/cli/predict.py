"""`mcdrop predict`: one row, answered in the terminal."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from mcdrop.cli.console import show
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

__all__ = ["predict"]


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
) -> None:
    """Answer for one row, and say how far to trust the answer."""
    from mcdrop.scoring import columns

    predictor = load_predictor(root, model, version)
    answer = predictor.predict([_parse_row(row)], samples, seed, tolerance=tolerance)
    card = predictor.card
    title = f"{card.name} version {card.version}, {answer.samples} passes, seed {seed}"
    table = Table(title=title, box=SIMPLE)
    table.add_column("output")
    table.add_column("value", justify="right")
    for column, values in columns(answer, card, mc_error=True).items():
        value = values[0].as_py() if column == "prediction_set" else values[0]
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(escape(column), escape(text))
    show(table)


def _parse_row(text: str) -> Any:
    text = sys.stdin.read() if text == "-" else text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the row is not JSON ({error}): give [numbers] or {{column: value}}"
        ) from None
