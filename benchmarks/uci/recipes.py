"""What is trained on each set, and what others published.

Knows settings and figures. The fixed settings are those of Gal & Ghahramani (2016) and of the
longer runs they published with their code: one hidden layer of 50, dropout on the input and on the
hidden layer, Adam, MSE + (l^2 (1 - p) / (2 N tau)) ||w||^2 on standardized targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from mcdrop.recipe import Recipe

__all__ = ["FIXED", "LENGTHS", "PUBLISHED", "SETS", "TUNED", "Fixed", "Grid", "build"]

SETS = ("concrete", "energy", "kin8nm", "power", "wine", "yacht")
Score = tuple[float, float, float, float]  # RMSE, its standard error, LL, its standard error

PUBLISHED: dict[str, dict[str, Score]] = {
    # Gal & Ghahramani 2016, table 1.
    "2016": {
        "concrete": (5.23, 0.12, -3.04, 0.02),
        "energy": (1.66, 0.04, -1.99, 0.02),
        "kin8nm": (0.10, 0.00, 0.95, 0.01),
        "power": (4.02, 0.04, -2.80, 0.01),
        "wine": (0.62, 0.01, -0.93, 0.01),
        "yacht": (1.11, 0.09, -1.55, 0.03),
    },
    # Their repository's readme; deviations over 20 splits, here divided by sqrt(20).
    "10x": {
        "concrete": (4.81, 0.143, -2.94, 0.022),
        "energy": (1.09, 0.047, -1.72, 0.016),
        "kin8nm": (0.09, 0.00, 0.97, 0.004),
        "power": (4.00, 0.038, -2.79, 0.009),
        "wine": (0.61, 0.009, -0.92, 0.013),
        "yacht": (0.72, 0.056, -1.38, 0.013),
    },
    # Their repository's results of 2018: 4000 epochs, p and tau by grid on validation rows.
    "2018": {
        "concrete": (4.826, 0.161, -2.937, 0.025),
        "energy": (0.539, 0.014, -1.212, 0.005),
        "kin8nm": (0.0789, 0.0006, 1.136, 0.007),
        "power": (4.014, 0.037, -2.808, 0.009),
        "wine": (0.622, 0.008, -0.928, 0.013),
        "yacht": (0.666, 0.049, -1.250, 0.015),
    },
}

LENGTHS = {"2016": (32, 400), "10x": (128, 4000)}
"""Batch size and epochs of the fixed recipes."""


@dataclass(frozen=True)
class Fixed:
    """Settings that were published with p and tau: no search.

    Attributes:
        rate: dropout rate p of input and hidden layer.
        precision: tau, in the unit of the raw target.
        length: prior length scale l, by recipe.
    """

    rate: float
    precision: float
    length: dict[str, float] = field(default_factory=lambda: {"2016": 0.01, "10x": 0.01})

    def weight_decay(self, name: str, rows: int) -> float:
        """Lambda of lambda/2 ||w||^2 for a mean loss over ``rows`` rows."""
        return self.length[name] ** 2 * (1 - self.rate) / (rows * self.precision)


FIXED = {
    "concrete": Fixed(0.01, 0.0557319),
    "energy": Fixed(0.05, 0.427115),
    "wine": Fixed(0.05, 2.95834),
    "yacht": Fixed(0.01, 0.541870, {"2016": 0.1, "10x": 0.01}),
}


@dataclass(frozen=True)
class Grid:
    """What the tuned column chooses from, on validation rows of each split's training rows.

    Attributes:
        rates: (input rate, hidden rate) pairs.
        decays: lambdas.
        epochs: length of training at a cosine learning rate.
        batch_size: rows a step.
        hidden: units of the hidden layers.
        lr: highest learning rate.
        folds: validation parts; every training row is held out once, or with 1 a fifth is.
    """

    rates: Sequence[tuple[float, float]]
    decays: Sequence[float]
    epochs: int
    batch_size: int = 32
    hidden: tuple[int, ...] = (50,)
    lr: float = 0.01
    folds: int = 5

    @property
    def settings(self) -> list[tuple[tuple[float, float], float]]:
        """All ((input rate, hidden rate), lambda)."""
        return list(product(self.rates, self.decays))


TUNED = {
    "concrete": Grid([(0.0, 0.05), (0.0, 0.1)], [1e-4, 1e-3], 200, hidden=(50, 50)),
    "energy": Grid([(0.0, 0.005), (0.005, 0.005), (0.0, 0.01)], [1e-6, 1e-5, 1e-4], 300),
    "kin8nm": Grid([(0.0, 0.005), (0.0, 0.05)], [1e-5], 60, 128, (50, 50), folds=1),
    "power": Grid([(0.0, 0.005), (0.0, 0.02)], [1e-5], 60, 128, (50, 50), folds=1),
    "wine": Grid([(0.05, 0.05), (0.1, 0.1)], [1e-5], 300, 128, (50, 50)),
    "yacht": Grid([(0.005, 0.005), (0.01, 0.01), (0.0, 0.01)], [1e-5, 1e-4], 1500),
}


def build(
    seed: int,
    rates: tuple[float, float],
    weight_decay: float,
    *,
    batch_size: int,
    epochs: int,
    hidden: tuple[int, ...] = (50,),
    lr: float = 1e-3,
    schedule: str = "constant",
) -> Recipe:
    """The recipe of one network; ``rates`` are of the input and of every hidden layer."""
    return Recipe.model_validate(
        {
            "task": "regression",
            "seed": seed,
            "data": {"source": "table", "train": "data.txt"},
            "network": {
                "hidden": hidden,
                "input_dropout": rates[0],
                "dropout": rates[1],
                "init": "xavier",
            },
            "regularization": {"form": "coupled", "weight_decay": weight_decay},
            "training": {
                "batch_size": batch_size,
                "epochs": epochs,
                "lr": lr,
                "schedule": schedule,
            },
        }
    )
