"""Numbers of the benchmarks, from the files that the benchmarks wrote.

Replaces ``{{ results NAME | COLUMNS | WHERE }}`` by a table of ``benchmarks/results/NAME.json``:
the columns named (all where none is), of the rows where columns have the values given. One row
and one column make a number that can stand within a sentence. ``{{ command NAME }}`` is what
measured, ``{{ machine NAME }}`` that and where it ran. ``{{ others }}`` is a section for each file
that the page has not named. What is not there stops the build.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

__all__ = ["on_page_markdown", "render"]

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"
_MARK = re.compile(r"\{\{ (results|command|machine) (.+?) \}\}")
_NAMED = re.compile(r"\{\{ (results|machine) ([\w-]+)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its markers replaced."""
    if "{{ others }}" in markdown:
        named = {name for _, name in _NAMED.findall(markdown)}
        further = sorted(path.stem for path in RESULTS.glob("*.json") if path.stem not in named)
        markdown = markdown.replace("{{ others }}", "\n".join(map(_section, further)))
    draw = {"results": render, "command": _command, "machine": _provenance}
    return _MARK.sub(lambda found: draw[found[1]](found[2]), markdown)


def render(query: str) -> str:
    """The Markdown of ``NAME | COLUMNS | WHERE``, as described above."""
    name, wanted, where = [*(part.strip() for part in query.split("|")), "", ""][:3]
    rows = _read(name)["rows"]
    for condition in filter(None, where.split(",")):
        column, value = (part.strip() for part in condition.split("=", 1))
        rows = [row for row in rows if str(row[column]) == value]
    columns = [column.strip() for column in wanted.split(",")] if wanted else _names(rows)
    if not rows or not set(columns) <= set(_names(rows)):
        raise ValueError(f"{name} has no row with {where}, or not all of {columns}")
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if len(cells) == len(columns) == 1:
        return cells[0][0]
    numeric = [all(isinstance(row.get(c), int | float | None) for row in rows) for c in columns]
    lines = [columns, ["---:" if right else "---" for right in numeric], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _names(rows: list[dict[str, Any]]) -> list[str]:
    """Every column that some row has, in the order of their first coming."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _section(name: str) -> str:
    """A benchmark nobody has written about: what its module says, and all that it measured."""
    module = "gpu" if _read(name)["machine"]["accelerator"] else name
    places = (BENCHMARKS / f"{module}.py", BENCHMARKS / module / "__main__.py")
    texts = [place.read_text(encoding="utf-8") for place in places if place.is_file()]
    about = "".join(ast.get_docstring(ast.parse(text)) or "" for text in texts)
    shown = f"{{{{ results {name} }}}}\n\n{{{{ machine {name} }}}}."
    return f"## {name.replace('_', ' ').capitalize()}\n\n{about}\n\n{shown}\n"


def _command(name: str) -> str:
    return f"`{_read(name)['command']}`"


def _provenance(name: str) -> str:
    machine = _read(name)["machine"]
    threads = machine["threads"]
    place = machine["accelerator"] or (
        f"{machine['processor']}, {threads} thread{'s' * (threads > 1)}"
        f" ({', '.join(machine['features'])})"
    )
    return f"{_command(name)}, on {place}, PyTorch {machine['torch']}"


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("+-", " ± ")
