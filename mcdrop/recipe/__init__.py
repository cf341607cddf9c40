"""What to train: frozen, fully described settings read from TOML.

    rows      where they come from, how they are split and changed
    network   layers, dropout, initialization
    fitting   the loss, regularization, the optimizer
    promises  what calibration makes of held-out rows
    whole     all of it, and what its parts ask of each other
    reading   from TOML

Knows the fields, their units and their bounds. Refuses to know tensors, files of data and what a
network looks like once it is built. An unknown field is an error, never ignored.
"""

from mcdrop.recipe.fitting import RegularizationRecipe, TrainingRecipe
from mcdrop.recipe.network import NetworkRecipe
from mcdrop.recipe.promises import CalibrationRecipe
from mcdrop.recipe.reading import load_recipe
from mcdrop.recipe.rows import EXAMPLES_LIMIT, AugmentationRecipe, DataRecipe
from mcdrop.recipe.whole import SAMPLES_LIMIT, Recipe, Task

__all__ = [
    "EXAMPLES_LIMIT",
    "SAMPLES_LIMIT",
    "AugmentationRecipe",
    "CalibrationRecipe",
    "DataRecipe",
    "NetworkRecipe",
    "Recipe",
    "RegularizationRecipe",
    "Task",
    "TrainingRecipe",
    "load_recipe",
]
