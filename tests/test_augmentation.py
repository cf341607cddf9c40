"""Augmentation: each row by itself, all changes equally often, nothing but pictures."""

import numpy as np
import pytest
import torch

from mcdrop.augmentation import Augmentation
from mcdrop.errors import InputError
from mcdrop.recipe import AugmentationRecipe, Recipe
from mcdrop.training import fit
from tests.test_training import blobs, recipe

ROWS = 4000


def augment(x: torch.Tensor, seed: int = 0, **fields: object) -> torch.Tensor:
    change = Augmentation(AugmentationRecipe.model_validate(fields), (4, 5))
    return change(x, torch.Generator().manual_seed(seed))


def test_nothing_asked_nothing_changed() -> None:
    x = torch.rand(3, 20)
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert torch.equal(Augmentation(AugmentationRecipe(), (4, 5))(x, generator), x)
    assert torch.equal(generator.get_state(), state)
    columns = Augmentation(AugmentationRecipe(), ())  # rows of a table have no shape
    assert torch.equal(columns(x, generator), x)


def test_half_of_the_rows_are_mirrored() -> None:
    x = torch.arange(20.0).repeat(ROWS, 1)
    out = augment(x, flip=True).view(ROWS, 4, 5)
    mirrored = (out == x.view(ROWS, 4, 5).flip(-1)).all((1, 2))
    assert torch.equal(out[~mirrored], x.view(ROWS, 4, 5)[~mirrored])
    # A fair coin: |z| < 4 fails by chance once in 16,000 seeds.
    assert abs(mirrored.float().mean().item() - 0.5) < 4 * 0.5 / ROWS**0.5


def test_every_shift_is_equally_likely_and_repeats_the_edge() -> None:
    picture = np.arange(20.0).reshape(4, 5)
    out = augment(torch.tensor(picture.ravel(), dtype=torch.float32).repeat(ROWS, 1), shift=1)
    seen = {}
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rows = np.clip(np.arange(4) + down, 0, 3)
            columns = np.clip(np.arange(5) + right, 0, 4)
            wanted = torch.tensor(picture[np.ix_(rows, columns)].ravel(), dtype=torch.float32)
            seen[down, right] = (out == wanted).all(1).sum().item()
    assert sum(seen.values()) == ROWS
    # Nine cells, each |z| < 4.5: a false alarm in 16,000 seeds.
    spread = (ROWS * (1 / 9) * (8 / 9)) ** 0.5
    assert max(abs(count - ROWS / 9) for count in seen.values()) < 4.5 * spread


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_colors_change_together_as_gray_does(axis: int, channels: int) -> None:
    asked = AugmentationRecipe(flip=True, shift=2)
    gray = torch.rand(50, 20)
    shape = (channels, 4, 5) if axis == 1 else (4, 5, channels)
    colored = torch.stack([gray.view(50, 4, 5) + c for c in range(channels)], axis)
    change = Augmentation(asked, shape)
    got = change(colored.reshape(50, -1), torch.Generator().manual_seed(0))
    want = augment(gray, flip=True, shift=2).view(50, 4, 5)
    for c in range(channels):
        assert torch.equal(got.view(50, *shape).select(axis, c), want + c)


def test_same_generator_same_rows() -> None:
    x = torch.rand(50, 20)
    first, again, other = (augment(x, seed, flip=True, shift=2) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_tables_and_small_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="wanted pictures"):
        Augmentation(AugmentationRecipe(flip=True), (784,))
    with pytest.raises(InputError, match="shift 4"):
        Augmentation(AugmentationRecipe(shift=4), (4, 5))
    for shape in ((4, 5, 2), (2, 4, 5), (3, 2, 5), (1, 3, 4, 5)):
        with pytest.raises(InputError, match="wanted pictures"):
            Augmentation(AugmentationRecipe(shift=2), shape)
    flips = Recipe.model_validate({**recipe().model_dump(), "augmentation": {"flip": True}})
    with pytest.raises(InputError, match="wanted pictures"):
        fit(flips, blobs())
