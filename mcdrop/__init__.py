"""mcdrop: dropout networks that say how far each of their answers can be trusted.

A dropout network is a distribution over thinned networks. mcdrop trains it, draws T of them from
a seed, evaluates them together, and says what their disagreement means.

Names are imported when they are first used: PyTorch alone takes seconds, and `mcdrop --help`
needs none of it.
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from mcdrop.later import importer as _importer

if TYPE_CHECKING:
    from mcdrop.adoption import adopt
    from mcdrop.client import AsyncClient, Client
    from mcdrop.network import DropoutMLP
    from mcdrop.pipeline import train
    from mcdrop.posterior import Posterior
    from mcdrop.predictor import Predictor, load
    from mcdrop.recipe import Recipe, load_recipe

__all__ = [
    "AsyncClient",
    "Client",
    "DropoutMLP",
    "Posterior",
    "Predictor",
    "Recipe",
    "adopt",
    "load",
    "load_recipe",
    "train",
]
__version__ = _version("mcdrop")

__getattr__ = _importer(
    __name__,
    {
        "AsyncClient": "client",
        "Client": "client",
        "DropoutMLP": "network",
        "Posterior": "posterior",
        "Predictor": "predictor",
        "Recipe": "recipe",
        "adopt": "adoption",
        "load": "predictor",
        "load_recipe": "recipe",
        "train": "pipeline",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
