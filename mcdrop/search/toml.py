"""Recipes as TOML text.

Knows how to write what `mcdrop.recipe.load_recipe` reads. Refuses to know what the fields mean.
"""

import json
from typing import Any

from mcdrop.recipe import Recipe

__all__ = ["to_toml"]


def to_toml(recipe: Recipe) -> str:
    """The recipe's settings that are not defaults, as TOML that `load_recipe` reads."""
    content = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    lines = [f"{key} = {_value(v)}" for key, v in content.items() if not isinstance(v, dict)]
    for name, table in content.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{_key(key)} = {_value(v)}" for key, v in table.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(v)}" for key, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
