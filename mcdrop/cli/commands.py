"""All commands together, and how they end.

Knows signals and exit codes. Refuses to know what a command does.
"""

import signal
import sys

import typer
from rich.markup import escape

from mcdrop.cli.compare import compare
from mcdrop.cli.console import console
from mcdrop.cli.evaluate import evaluate
from mcdrop.cli.info import info
from mcdrop.cli.key import key
from mcdrop.cli.models import models
from mcdrop.cli.predict import predict
from mcdrop.cli.score import score
from mcdrop.cli.search import search
from mcdrop.cli.select import select
from mcdrop.cli.serve import serve
from mcdrop.cli.train import train
from mcdrop.errors import McdropError

__all__ = ["app", "run"]

app = typer.Typer(
    help="Train dropout networks and serve them so that every answer says how far it can be "
    "trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (
    train,
    evaluate,
    compare,
    search,
    serve,
    score,
    select,
    predict,
    models,
    key,
    info,
):
    app.command()(_command)


def run() -> None:
    """Run the command line; known errors become one line and exit code 1.

    SIGTERM stops a command as Ctrl-C does: a container's first process would else ignore it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except McdropError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
