"""The command line's page, from the command line itself.

Replaces the line ``{{ commands }}`` by what typer writes of every command.
"""

import re
from typing import Any

import typer.main
from typer.cli import get_docs_for_click

from mcdrop.cli import app

__all__ = ["on_page_markdown"]

_MARK = "{{ commands }}"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its marker replaced."""
    return markdown.replace(_MARK, _reference()) if _MARK in markdown else markdown


def _reference() -> str:
    group = typer.main.get_command(app)
    text = get_docs_for_click(obj=group, ctx=typer.Context(group), name="mcdrop")
    text = text[text.index("\n## ") + 1 :]  # the page has a head of its own
    text = re.sub(r"^\* `--help`.*\n", "", text, flags=re.MULTILINE)
    # Outside of code, <name> would be a tag.
    parts = re.split(r"(`[^`\n]+`|```.*?```)", text, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)
