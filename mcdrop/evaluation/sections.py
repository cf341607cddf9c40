"""What a section of the report is made of, and how one becomes a page.

Knows titles, tables and drawn figures. Refuses to know numbers and models.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment

from mcdrop.errors import InputError
from mcdrop.evaluation.words import written
from mcdrop.metrics import Estimate

__all__ = ["Section", "Table", "draw", "html", "numbers_table"]


@dataclass(frozen=True)
class Table:
    """Rows of texts below a head; the first text of a row names it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        name: of its figure's file, and its place on the page.
        title: for people.
        text: what to see.
        tables: below the text.
        figure: PNG; empty where there is none.
    """

    name: str
    title: str
    text: str
    tables: Sequence[Table] = ()
    figure: bytes = b""

    @property
    def picture(self) -> str:
        """The figure in base 64."""
        return base64.b64encode(self.figure).decode()


def draw(
    paint: Callable[[Any], object], rows: int = 1, columns: int = 1, size: float = 3.6
) -> bytes:
    """The PNG of a figure whose axes (rows * columns,) ``paint`` draws on.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("matplotlib is not installed: pip install 'mcdrop[plots]'") from None
    figure = Figure(figsize=(size * 1.25 * columns, size * rows), layout="constrained")
    paint(figure.subplots(rows, columns, squeeze=False).ravel())
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def numbers_table(columns: Mapping[str, Mapping[str, Any]], caption: str = "") -> Table:
    """Estimates by name, a column for each group of them; empty where a group lacks one."""
    names = dict.fromkeys(
        name
        for group in columns.values()
        for name, value in group.items()
        if isinstance(value, Estimate)
    )
    rows = [
        [name.replace("_", " "), *(_cell(group.get(name)) for group in columns.values())]
        for name in names
    ]
    return Table(["", *columns], rows, caption)


def _cell(value: Estimate | None) -> str:
    return "" if value is None else written(value)


def html(title: str, subtitle: str, verdicts: Sequence[str], sections: Sequence[Section]) -> str:
    """The report as one page that needs neither network nor script."""
    source = files("mcdrop.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return page.render(title=title, subtitle=subtitle, verdicts=verdicts, sections=sections)
