"""The rooms of the house by floor, from the test that keeps imports going down.

Replaces the line ``{{ rooms }}`` by a table: the floor, the room, the first line of its docstring.
"""

import ast
from pathlib import Path
from typing import Any

__all__ = ["on_page_markdown"]

_ROOT = Path(__file__).parents[2]
_MARK = "{{ rooms }}"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its marker replaced."""
    return markdown.replace(_MARK, _table()) if _MARK in markdown else markdown


def _table() -> str:
    lines = ["| floor | room | what it is |", "|---|---|---|"]
    for floor, rooms in reversed(list(enumerate(_floors()))):
        lines += [f"| {floor} | `{room}` | {_headline(room)} |" for room in sorted(rooms)]
    return "\n".join(lines)


def _floors() -> list[set[str]]:
    """``FLOORS`` as the test states it."""
    tree = ast.parse((_ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    wanted = next(node for node in assigned if ast.unparse(node.targets[0]) == "FLOORS")
    floors: list[set[str]] = ast.literal_eval(wanted.value)
    return floors


def _headline(room: str) -> str:
    places = (f"mcdrop/{room}.py", f"mcdrop/{room}/__init__.py", f"service/{room}/__init__.py")
    path = next(_ROOT / place for place in places if (_ROOT / place).is_file())
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
