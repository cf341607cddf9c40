"""A network that was trained elsewhere, made a version of the repository like any other.

Knows what rows, truth and outputs say of the task, and how they were scaled. Refuses to know how
the network was trained, and to believe its copy before both have given the same answers.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from mcdrop.adopted import Adopted, AdoptedNetwork, Layer
from mcdrop.arguments import bounded, one_of
from mcdrop.data.given import (
    Truth,
    given_truth,
    inspect_table,
    preprocessing_of,
    raw_numbers,
)
from mcdrop.data.preprocessing import Inputs, Preprocessing
from mcdrop.data.sources import Dataset, Split
from mcdrop.data.splits import Places, hold_out
from mcdrop.errors import InputError, NetworkError
from mcdrop.layers import build_layers, describe
from mcdrop.pipeline import publish, sample
from mcdrop.plan import leaves, read_layout, sequence
from mcdrop.posterior import Posterior
from mcdrop.recipe import EXAMPLES_LIMIT, SAMPLES_LIMIT, CalibrationRecipe
from mcdrop.repository import prepare, read_card
from mcdrop.worth import worse_than_constant

__all__ = ["adopt"]

_TRIED = 64  # rows that the network and its copy have to agree on
_LEAST = 30  # held-out rows


def adopt(
    network: nn.Module,
    rows: Any,
    truth: ArrayLike,
    name: str,
    repository: Path | str = "models",
    *,
    classes: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    categories: Mapping[str, Sequence[Any]] | None = None,
    scale: float = 1.0,
    mean: ArrayLike = 0.0,
    std: ArrayLike = 1.0,
    variance: Literal["constant", "learned"] = "constant",
    samples: int = 100,
    seed: int = 0,
    calibration: CalibrationRecipe | None = None,
    examples: int = 0,
    description: str = "",
) -> Path:
    """Correct a trained network on held-out rows, and write it as a version to load and serve.

    A third of ``rows`` corrects it (temperature or noise), a third gives its promises (sets,
    intervals, novelty, abstention), a third its scores: see `mcdrop.train`, which does the same.
    ``network`` itself is never changed.

    Args:
        network: as `mcdrop.Posterior` takes it, made of PyTorch's own layers alone, with a dropout;
            it ends in logits, or in a regression's outputs in the target's own unit. (A softmax
            at the end is left out. One logit and a truth of 0 and 1 become two classes.)
        rows: (B, D) or (B, ...) numbers or a data frame, in the unit that the server will be
            asked in. Rows that training did not see, also not to stop by: hundreds, better
            thousands.
        truth: (B,) indices of the network's outputs, or labels where ``classes`` names them; or
            (B,) or (B, C) numbers of a regression.
        name: the model's folder in the repository.
        repository: the repository's root.
        classes: labels in the order of the outputs; their indices by default.
        targets: names of a regression's outputs.
        columns: names of D columns; a data frame's by default. With ``categories``: those of the
            frame that the network takes.
        categories: of a data frame's columns of labels, each one's labels in the order of their
            one-hot slots. The network takes the columns of numbers, in the order of ``columns``,
            and behind them these slots, as `pandas.get_dummies` lays them out.
        scale: the network was trained on ``(rows * scale - mean) / std``.
        mean: see ``scale``: one number, or one for each column of numbers, or channel of pictures.
        std: likewise.
        variance: regression: "learned" where the outputs are C means, then C logarithms of
            variances.
        samples: T, passes served by default.
        seed: parts the rows, and draws the passes that are measured.
        calibration: level, risk and kinds of the promises; those of a recipe by default.
        examples: how many of the rows that score, which are pictures, to keep as samples on the
            page; whoever may ask the model may see them.
        description: one line for people.

    Returns:
        The folder of the new version.

    Raises:
        NetworkError: the network has no dropout, or a layer that cannot be built again.
        InputError: rows are no finite numbers, or rows, truth and network do not fit each other.
        RepositoryError: the name cannot be a folder, or the repository cannot be written.

    Warns:
        UserWarning: a constant answer would be better, as where classes are in another order.

    Example:
        >>> mcdrop.adopt(network, x_held_out, y_held_out, "wines", columns=names)
    """
    one_of("variance", variance, ("constant", "learned"))
    samples, seed, examples = (
        bounded("samples", samples, 1, SAMPLES_LIMIT),
        bounded("seed", seed, 0, 2**63 - 1),
        bounded("examples", examples, 0, EXAMPLES_LIMIT),
    )
    prepare(Path(repository), name)
    preprocessing: Preprocessing
    raw: NDArray[Any]
    if categories:
        preprocessing, inputs = inspect_table(rows, columns, categories, scale, mean, std)
        raw = inputs.x
    else:
        raw = raw_numbers(rows)
        preprocessing = preprocessing_of(raw, columns or _names(rows), scale, mean, std)
        inputs = preprocessing.inspect(raw)
    x = inputs.x
    own = _copy(network, raw.shape[1:], x)
    outputs = _outputs(own, x) // (1 + (variance == "learned"))
    found = given_truth(truth, outputs, classes, targets)
    if found.classes and outputs == 1:
        own = _two_logits(own)
    recipe = Adopted(
        description=description,
        task="classification" if found.classes else "regression",
        seed=seed,
        samples=samples,
        network=AdoptedNetwork(layers=describe(own)[0], variance=variance),
        calibration=calibration or CalibrationRecipe(),
    )
    thirds = _thirds(len(inputs), found, seed)
    dataset = _parted(inputs, found, preprocessing, thirds)
    test = thirds[2]
    kept = sample(raw[test], found.y[test], dataset, examples) if examples else None
    folder = publish(recipe, dataset, own, Path(repository), name, examples=kept)
    worse = worse_than_constant(read_card(folder), dataset.test.y)
    if worse:
        warnings.warn(
            f"{worse}: are rows in the unit that `scale`, `mean` and `std` start from, classes in "
            "the order of the outputs, outputs in the target's own unit, and truths in the order "
            "of the rows?",
            stacklevel=2,
        )
    return folder


def _names(rows: Any) -> Sequence[str] | None:
    """The names of a table's or a data frame's columns."""
    names = getattr(rows, "column_names", None)
    return getattr(rows, "columns", None) if names is None else names


def _copy(network: nn.Module, shape: tuple[int, ...], x: NDArray[np.float32]) -> nn.Sequential:
    """The network built again from what a card can say of it, for encoded rows (B, D)."""
    given = _without_softmax(sequence(network))
    layout = read_layout(given)
    if not layout.stages:
        raise NetworkError(
            "the network has no nn.Dropout of a rate above 0, so that all passes would be alike"
        )
    if layout.width is None and len(shape) > 1:
        given = nn.Sequential(nn.Unflatten(1, shape), given)
    own = build_layers(*describe(given))
    few = x[:_TRIED]
    theirs, ours = (Posterior(each, 1).predict(few).deterministic for each in (given, own))
    for a, b in zip(vars(theirs).values(), vars(ours).values(), strict=True):
        if not np.allclose(a, b, rtol=1e-3, atol=1e-4 * (1 + np.abs(a).max())):
            raise NetworkError(
                "the network and its copy, built from its layers' arguments, answer differently: "
                "a module does more than its class says; use plain modules of torch.nn"
            )
    return own


def _without_softmax(network: nn.Sequential) -> nn.Sequential:
    modules = [module for _, module in leaves(network, "")]
    if len(modules) > 1 and isinstance(modules[-1], nn.Softmax):
        return nn.Sequential(*modules[:-1])
    return network


def _outputs(network: nn.Sequential, x: NDArray[np.float32]) -> int:
    with torch.inference_mode():
        found = network(torch.from_numpy(x[:2]))
    if found.dim() != 2:
        raise NetworkError(
            f"the network gives {tuple(found.shape[1:])} a row, wanted one axis of logits or "
            "outputs: end it in nn.Flatten"
        )
    return int(found.shape[1])


def _two_logits(network: nn.Sequential) -> nn.Sequential:
    """Logits (0, z) in place of one logit z, whose softmax is z's sigmoid."""
    modules = list(network)
    if isinstance(modules[-1], nn.Sigmoid):
        modules.pop()
    linear = Layer(kind="Linear", options={"in_features": 1, "out_features": 2})
    state = {"0.weight": torch.tensor([[0.0], [1.0]]), "0.bias": torch.zeros(2)}
    return nn.Sequential(*modules, *build_layers((linear,), state)).eval()


def _thirds(rows: int, truth: Truth, seed: int) -> tuple[Places, Places, Places]:
    """Places of rows, each class in each third: to correct, to promise from, to score."""
    if rows != len(truth.y) or rows < _LEAST:
        raise InputError(
            f"got {rows} rows and {len(truth.y)} truths, wanted as many of each, and {_LEAST} of "
            "them or more"
        )
    groups = truth.y if truth.classes else np.zeros(rows, np.int64)
    rest, test = hold_out(groups, 1 / 3, np.random.default_rng([seed, 0]))
    first, second = hold_out(groups[rest], 1 / 2, np.random.default_rng([seed, 2]))
    return rest[first], rest[second], test


def _parted(
    inputs: Inputs, truth: Truth, preprocessing: Preprocessing, thirds: tuple[Places, ...]
) -> Dataset:
    x = inputs.x
    one, two, three = (Split(x[at], truth.y[at], inputs.unknown[at]) for at in thirds)
    digest = hashlib.sha256(x.tobytes())
    digest.update(np.ascontiguousarray(truth.y).tobytes())
    return Dataset(
        train=Split(x[:0], truth.y),  # nothing is learned here; the spread of the targets is known
        validation=one,
        calibration=two,
        test=three,
        preprocessing=preprocessing,
        classes=truth.classes,
        targets=truth.targets,
        fingerprint=digest.hexdigest(),
        source="held-out rows",
    )
