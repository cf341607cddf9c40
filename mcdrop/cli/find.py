"""What a name on the command line means: a recipe, or a trained model.

Knows where recipes and models lie. Refuses to know what is in them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from mcdrop.errors import RecipeError

if TYPE_CHECKING:
    from mcdrop.predictor import Predictor

__all__ = ["find_recipe", "load_predictor"]

_ROWS = {".csv", ".parquet", ".pq", ".npz"}


def find_recipe(recipe: str, root: Path) -> tuple[Path, str]:
    """The recipe's path and the model it names: a file, a folder, a model, a bundled recipe.

    Raises:
        RecipeError: it names a file of rows.
    """
    path = Path(recipe)
    if path.suffix == ".toml":
        path = path.resolve()
        return path, path.parent.name if path.name == "recipe.toml" else path.stem
    if path.suffix.lower() in _ROWS and path.is_file():
        raise RecipeError(
            f"{recipe} holds rows, wanted a recipe: a file {path.stem}.toml beside it, that says "
            f'[data] source = "table", train = "{path.name}", target = "<the column to learn>"'
        )
    own = (path if (path / "recipe.toml").is_file() else root / recipe) / "recipe.toml"
    name = own.parent.resolve().name
    package = Path(__file__).parent.parent
    # In the wheel, recipes lie in the package; in a checkout, in the model repository beside it.
    shipped = (package / f"recipes/{name}.toml", package.parent / f"models/{name}/recipe.toml")
    return next((p for p in (own, *shipped) if p.is_file()), own), name


def load_predictor(root: Path, model: str | None, version: int | None) -> "Predictor":
    """The trained model meant; see `mcdrop.repository.resolve` for what may be left out."""
    from mcdrop import repository
    from mcdrop.predictor import load

    return load(repository.resolve(root, model, version))
