"""The arguments that several commands share, spelled once.

Knows names, bounds and help texts. Refuses to know what commands do with them.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mcdrop.recipe import SAMPLES_LIMIT

__all__ = [
    "MODELS",
    "AutoSamples",
    "DataRoot",
    "Device",
    "Model",
    "Repository",
    "Samples",
    "Seed",
    "Tolerance",
    "Version",
]


def _passes(text: str) -> int | Literal["auto"]:
    """A number of passes, or "auto"."""
    if text == "auto":
        return "auto"
    if text.isdecimal() and 1 <= int(text) <= SAMPLES_LIMIT:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither auto nor a number from 1 to {SAMPLES_LIMIT}")


Repository = Annotated[
    Path, typer.Option("--repository", help="The model repository: a folder per model.")
]
Model = Annotated[
    str | None, typer.Option("--model", help="Model to use; may be left out if there is only one.")
]
Version = Annotated[
    int | None, typer.Option("--version", min=1, help="Version to use; the latest by default.")
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        min=1,
        max=SAMPLES_LIMIT,
        help="Stochastic passes T; the model's own number by default.",
    ),
]
AutoSamples = Annotated[
    Any,
    typer.Option(
        "--samples",
        parser=_passes,
        metavar="T|auto",
        help="Stochastic passes T, or auto for as many as each row needs; the model's own number "
        "by default.",
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        help="With --samples auto: greatest Monte Carlo error of a probability, or of a mean as a "
        "share of its std; .01 by default.",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Draws the T thinned networks; same seed, same answer.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of the data; torchvision's sets download without."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto (cuda, then mps, then cpu), or a torch device.")
]

MODELS = Path("models")
"""Where the model repository lies, unless said otherwise."""
