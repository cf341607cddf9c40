"""The command line: one file a command.

Knows arguments, progress bars and tables. Refuses to know how anything is done: each command is a
few calls into the library. Imports the library, and the service, only when a command needs them.
"""

from typing import TYPE_CHECKING

from mcdrop.later import importer

if TYPE_CHECKING:
    from mcdrop.cli.commands import app

__all__ = ["app", "main"]

__getattr__ = importer(__name__, {"app": "commands"})


def main() -> None:
    """Run the command line; known errors become one line and exit code 1."""
    # Only now: what is run as `mcdrop` is imported by every worker process too.
    from mcdrop.cli.commands import run

    run()
