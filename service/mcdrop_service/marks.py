"""Models that are not to be served though they are there: an empty file marks each.

Knows a folder and the names in it. Refuses to know who loads models and who asks for it.
"""

from pathlib import Path

__all__ = ["is_unloaded", "unloaded"]


def unloaded(marks: Path, model: str, *, yes: bool) -> None:
    """Mark a model of the repository as one that is not to be served, or take the mark away."""
    marks.mkdir(exist_ok=True)
    if yes:
        (marks / model).touch()
    else:
        (marks / model).unlink(missing_ok=True)


def is_unloaded(marks: Path | None, model: str) -> bool:
    """Whether a model has the mark; without a folder none has."""
    return marks is not None and (marks / model).exists()
