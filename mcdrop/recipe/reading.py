"""From a TOML file to a recipe, or to a message that names every fault in it."""

import difflib
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mcdrop.errors import RecipeError
from mcdrop.recipe.whole import Recipe

__all__ = ["load_recipe"]


def load_recipe(path: Path) -> Recipe:
    """Read the TOML recipe at ``path``.

    Raises:
        RecipeError: the file is absent, is not TOML, or has a field that is unknown or out of
            bounds; the message names every such field.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RecipeError(
            f"no recipe at {path}: give the path of a TOML recipe, or the name of "
            "a folder of the model repository that holds recipe.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path} cannot be read as a TOML recipe: {error}") from None
    except ValidationError as error:
        faults = "; ".join(map(_fault, error.errors()))
        raise RecipeError(f"recipe {path} is not valid: {faults}") from None


def _fault(fault: ErrorDetails) -> str:
    where = ".".join(map(str, fault["loc"])) or "recipe"
    if fault["type"] == "tuple_type":
        return f"{where}: got {fault['input']!r:.60}, wanted a list in square brackets"
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']}"
    *section, name = map(str, fault["loc"])
    alike = _alike(".".join(section), name)
    return f"{where}: there is no such field" + (f", did you mean {alike!r}?" if alike else "")


def _alike(section: str, name: str) -> str | None:
    """The field that is most like ``name``, with its section where that is another one."""
    fields = {"": list(Recipe.model_fields)}
    for part, field in Recipe.model_fields.items():
        fields[part] = list(getattr(field.annotation, "model_fields", ()))
    every = [field for names in fields.values() for field in names]
    for found in difflib.get_close_matches(name, every, n=1):
        own = found in fields.get(section, ())
        place = section if own else next(part for part, names in fields.items() if found in names)
        return found if own or not place else f"{place}.{found}"
    return None
