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
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']}"
    fields = Recipe.model_fields
    sections = [field.annotation for field in fields.values()]
    known = [*fields, *(n for s in sections for n in getattr(s, "model_fields", ()))]
    alike = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
    return f"{where}: there is no such field" + "".join(f", did you mean {n!r}?" for n in alike)
