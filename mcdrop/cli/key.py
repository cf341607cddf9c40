"""`mcdrop key`: a new API key for the server."""

from typing import Annotated

import typer

from mcdrop.cli.console import say

__all__ = ["key"]


def key(
    name: Annotated[str, typer.Argument(help="Who it is for: letters, digits, '.', '_' and '-'.")],
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, help="Requests a second; no bound if none.")
    ] = None,
) -> None:
    """Make an API key. Its line goes to standard output: mcdrop key alice >> keys.txt."""
    from mcdrop_service.keys import make

    secret, line = make(name, rate)
    say(f"the key of {name}, shown this once: {secret}")
    typer.echo(line)
