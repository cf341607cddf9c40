"""Recipes: what is read, what is refused, and how the refusal reads."""

from pathlib import Path

import pytest

from mcdrop.errors import RecipeError
from mcdrop.recipe import NetworkRecipe, Recipe, load_recipe

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("models/*/recipe.toml")), ids=lambda p: p.parent.name
)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert load_recipe(path).description


def test_fashion_mnist_recipe_is_the_published_one() -> None:
    recipe = load_recipe(ROOT / "models/fashion-mnist/recipe.toml")
    assert recipe.network.hidden == (256, 128)
    assert recipe.network.rates == (0.3, 0.5)
    assert recipe.network.input_dropout == 0
    assert (recipe.training.optimizer, recipe.training.lr) == ("adam", 1e-3)
    assert (recipe.training.batch_size, recipe.training.epochs) == (128, 10)
    assert (recipe.data.mean, recipe.data.std) == (0.5, 0.5)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_recipe_round_trips_through_json(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, '[data]\nsource = "digits"\n[network]\ndropout = 0.2\n'))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert recipe.network.rates == (0.2, 0.2)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[data]\nsource = "digits"\n[training]\nepoch = 3\n', "training.epoch"),
        ('[data]\nsource = "imagenet"\n', "data.source"),
        ('[data]\nsource = "table"\n', "file of training rows"),
        ('[data]\nsource = "digits"\ntarget = "y"\n', "belong to source 'table'"),
        ('[data]\nsource = "digits"\nmean = 0.5\n', "both `mean` and `std`"),
        ('[data]\nsource = "digits"\n[network]\ndropout = [0.5]\n', "1 rates for 2 hidden"),
        ('[data]\nsource = "digits"\n[network]\ndropout = 1.0\n', "network.dropout"),
        ('task = "regression"\n[data]\nsource = "digits"\n', "holds classes"),
        ('[data]\nsource = "linear"\n', "holds numbers: task must be 'regression'"),
        ('[data]\nsource = "digits"\n[network]\nvariance = "learned"\n', "task 'regression'"),
        ('[data]\nsource = "digits"\n[training]\nnesterov = true\n', "needs optimizer 'sgd'"),
        (
            'task = "regression"\n[data]\nsource = "line"\n[training]\nlabel_smoothing = 0.1\n',
            "belong to task 'classification'",
        ),
        (
            '[data]\nsource = "digits"\n[training]\noptimizer = "adamw"\n'
            '[regularization]\nform = "coupled"\n',
            "'adamw' decays with form 'decoupled'",
        ),
        ('[data]\nsource = "digits"\n[training]\nlr = nan\n', "training.lr"),
        (
            '[data]\nsource = "digits"\n[training]\nephocs = 3\n',
            "training.ephocs: there is no such field, did you mean 'epochs'?",
        ),
        (
            '[data]\nsource = "digits"\nepoch = 3\n',
            "data.epoch: there is no such field, did you mean 'training.epochs'?",
        ),
        (
            'lr = 3\n[data]\nsource = "digits"\n',
            "lr: there is no such field, did you mean 'training.lr'?",
        ),
        ('[trainning]\nlr = 3\n[data]\nsource = "digits"\n', "did you mean 'training'?"),
        (
            '[data]\nsource = "digits"\n[network]\nhidden = 64\n',
            "network.hidden: got 64, wanted a list in square brackets",
        ),
        ('[data]\nsource = "digits"\nxyzzy = 3\n', "data.xyzzy: there is no such field"),
        ("data = ", "cannot be read as a TOML recipe"),
        ("", "data: Field required"),
    ],
)
def test_bad_recipes_are_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, text))
    assert named in str(error.value)
    assert "recipe.toml" in str(error.value)


def test_absent_recipe_says_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="give the path of a TOML recipe"):
        load_recipe(tmp_path / "recipe.toml")


def test_every_field_is_described() -> None:
    schema = Recipe.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    fields = [f for m in models for f in m.get("properties", {}).values() if "$ref" not in str(f)]
    assert len(fields) > 20
    assert all(field.get("description") for field in fields)


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        NetworkRecipe().activation = "tanh"  # type: ignore[misc]
