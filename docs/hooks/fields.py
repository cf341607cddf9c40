"""Tables of settings, from the models that check them.

Replaces ``{{ fields MODULE:CLASS }}`` by a table of the pydantic model's fields: name, default and
meaning; ``{{ tables MODULE:CLASS }}`` by that and a section for each model nested in it, as the
tables of a TOML file.
"""

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

__all__ = ["on_page_markdown"]

_MARK = re.compile(r"^\{\{ (fields|tables) ([\w.]+):(\w+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its markers replaced."""
    return _MARK.sub(lambda found: "\n".join(_draw(*found.groups())), markdown)


def _draw(form: str, module: str, name: str) -> Iterator[str]:
    model: type[BaseModel] = getattr(importlib.import_module(module), name)
    fields = model.model_fields
    nested = {n: f for n, f in fields.items() if form == "tables" and _is_model(f.annotation)}
    yield from _table({n: f for n, f in fields.items() if n not in nested})
    for heading, field in nested.items():
        table: Any = field.annotation
        yield f"\n## [{heading}]\n\n{inspect.getdoc(table)}\n"
        yield from _table(table.model_fields)


def _table(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    defaults = {name: _default(field) for name, field in fields.items()}
    shown = set(defaults.values()) != {"required"}  # an answer's fields are all there
    yield f"| field |{' default |' * shown} meaning |\n|---|{'---|' * shown}---|"
    for name, field in fields.items():
        meaning = f"{_meaning(field).rstrip('.')}{_choices(field)}{_bounds(field)}"
        yield f"| `{name}` |{f' {defaults[name]} |' * shown} {meaning} |"


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ("", (), {}):
        return ""
    return f"`{json.dumps(value, default=str)}`"


def _choices(field: FieldInfo) -> str:
    said = field.description or ""
    names = [name for name in _strings(field.annotation) if f"`{name}`" not in said]
    return " (" + ", ".join(f"`{name}`" for name in names) + ")" if names else ""


def _strings(annotation: Any) -> list[str]:
    """The texts of a Literal, however deep it lies in a union."""
    parts = get_args(annotation)
    if parts and all(isinstance(part, str) for part in parts):
        return list(parts)
    return [name for part in parts for name in _strings(part)]


def _bounds(field: FieldInfo) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [
        f"{sign} {getattr(bound, name):,}"
        for bound in field.metadata
        for name, sign in signs.items()
        if getattr(bound, name, None) is not None
    ]
    return f"; {', '.join(found)}" if found else ""


def _meaning(field: FieldInfo) -> str:
    text = field.description
    if text is None and _is_model(field.annotation):
        text = inspect.getdoc(field.annotation)
    text = (text or "").replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")
    return " ".join(text.split())
