"""The settings of a sweep: one recipe with some of its fields replaced.

Knows dotted field names and how settings are called. Refuses to know what a field means and how a
setting is trained.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from pydantic import ValidationError

from mcdrop.errors import RecipeError
from mcdrop.recipe import Recipe

__all__ = ["replaced", "settings"]


def replaced(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe, without its sweep, with other values of some fields.

    Args:
        recipe: what to start from.
        values: by dotted field name, as in {"regularization.weight_decay": 3.0}.

    Raises:
        RecipeError: there is no such field, or the recipe is not valid with that value.
    """
    content = recipe.model_dump(exclude={"sweep"})
    for field, value in values.items():
        *tables, last = field.split(".")
        place = content
        for table in tables:
            place = place.get(table, {})
            if not isinstance(place, dict):
                break
        if not isinstance(place, dict) or last not in place:
            raise RecipeError(
                f"the sweep names {field!r}, which is no field of a recipe: give a dotted name, as "
                "regularization.weight_decay"
            )
        place[last] = value
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        named = ", ".join(f"{field} = {value}" for field, value in values.items())
        raise RecipeError(f"the recipe is not valid with {named}: {fault['msg']}") from None


def settings(recipe: Recipe) -> dict[str, Recipe]:
    """Every combination of the values of ``recipe.sweep``, in its order, by what sets it apart.

    The names have the last part of each field: "weight_decay=3, batch_size=1". A recipe without a
    sweep is its only setting, with an empty name.

    Raises:
        RecipeError: as `replaced`.
    """
    fields = list(recipe.sweep)
    found = {}
    for values in product(*recipe.sweep.values()):
        chosen = dict(zip(fields, values, strict=True))
        name = ", ".join(f"{field.split('.')[-1]}={value}" for field, value in chosen.items())
        found[name] = replaced(recipe, chosen)
    return found
