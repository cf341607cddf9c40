"""Sweeps: combinations, their names, and values that do not fit."""

import pytest

from mcdrop.errors import RecipeError
from mcdrop.recipe import Recipe
from mcdrop.sweep import replaced, settings


def recipe(**sweep: list[object]) -> Recipe:
    dotted = {name.replace("__", "."): values for name, values in sweep.items()}
    return Recipe.model_validate({"data": {"source": "digits"}, "sweep": dotted})


def test_fields_are_crossed_in_order_and_named() -> None:
    found = settings(recipe(regularization__weight_decay=[0, 3], network__hidden=[[8], [4, 4]]))
    assert list(found) == [
        "weight_decay=0, hidden=[8]",
        "weight_decay=0, hidden=[4, 4]",
        "weight_decay=3, hidden=[8]",
        "weight_decay=3, hidden=[4, 4]",
    ]
    last = found["weight_decay=3, hidden=[4, 4]"]
    assert last.regularization.weight_decay == 3
    assert last.network.hidden == (4, 4)
    assert not last.sweep


def test_a_recipe_without_sweep_is_its_only_setting() -> None:
    assert settings(recipe()) == {"": recipe()}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("weight_decay", 1, "'weight_decay', which is no field"),
        ("regularization.lambda", 1, "no field"),
        ("seed.deeper.still", 1, "no field"),
        ("network.dropout", 1.5, "not valid with network.dropout = 1.5"),
    ],
)
def test_what_does_not_fit_is_named(field: str, value: object, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        replaced(recipe(), {field: value})


def test_other_fields_stay() -> None:
    changed = replaced(recipe(), {"training.lr": 0.5})
    assert changed.training.lr == 0.5
    assert changed.model_copy(update={"training": recipe().training}) == recipe()
