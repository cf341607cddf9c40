"""How commands speak: messages and progress on standard error, results on standard output.

Knows terminals. Refuses to know what is said.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

__all__ = ["console", "progress_bar", "say", "show", "stoppable"]

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Tell what happens, on standard error."""
    console.print(text, markup=False, soft_wrap=True)  # names of files may look like markup


def show(table: Table) -> None:
    """Print to standard output, where nothing is cut off unless a terminal is too narrow."""
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


@contextmanager
def stoppable(message: str = "stopped; nothing was written") -> Iterator[None]:
    """Let Ctrl-C end a command with ``message`` and exit code 130, the shell's convention."""
    try:
        yield
    except KeyboardInterrupt:
        say(message)
        raise typer.Exit(130) from None


def progress_bar(*more: ProgressColumn) -> Progress:
    """What is done and how long it takes yet, and ``more``; it leaves nothing behind."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
