"""Rows that are arrays of one unit, as a network takes them."""

import math

import numpy as np
import pytest
import torch

from mcdrop.data.fitting import fit_array
from mcdrop.data.units import ArrayPreprocessing
from mcdrop.errors import DataError

IMAGE = ArrayPreprocessing(shape=(2, 3), scale=1 / 255, mean=0.5, std=0.25)


def test_arrays_are_scaled_and_standardized() -> None:
    raw = np.array([[0, 51, 102, 153, 204, 255]], np.uint8)
    expected = (raw / 255 - 0.5) / 0.25
    np.testing.assert_allclose(IMAGE.encode(raw), expected, rtol=1e-6)
    assert IMAGE.encode(raw).dtype == np.float32
    assert IMAGE.features == 6


@pytest.mark.parametrize("form", [
    lambda x: x.reshape(-1, 2, 3),
    lambda x: x.reshape(-1, 1, 2, 3),
    lambda x: x.astype(np.float64),
    lambda x: x.astype(">i4"),
    lambda x: x.tolist(),
    lambda x: x.astype(float).tolist(),
    torch.tensor,
    lambda x: torch.tensor(x, dtype=torch.float32, requires_grad=True),
    np.asfortranarray,
])  # fmt: skip
def test_every_form_of_an_array_encodes_to_the_same_bits(form, rng) -> None:
    x = rng.integers(0, 256, (7, 6), dtype=np.uint8)
    assert np.array_equal(IMAGE.encode(form(x)), IMAGE.encode(x))


BYTES = np.array([[0, 51, 102, 153, 204, 255], [0, 0, 3, 4, 5, 9]])
CHANNELS = ArrayPreprocessing(shape=(2, 3), scale=1 / 255, mean=(0.4, 0.02), std=(0.3, 0.01))
BINARY = fit_array(BYTES > 60, minimum=0, maximum=255)  # pixels of 0 and 1, kept as bytes


@pytest.mark.parametrize(
    ("step", "rows", "told"),
    [
        (IMAGE, BYTES, False),
        (IMAGE, BYTES / 255, True),
        (IMAGE, BYTES * 255, True),
        (IMAGE, BYTES - 255 * 2, True),
        (IMAGE, BYTES + 255, False),  # half as bright again: strange, yet of this unit
        (IMAGE, BYTES * 0, False),
        (IMAGE, BYTES[:0], False),
        (BINARY, BYTES > 60, False),
        (CHANNELS, BYTES, False),
        (CHANNELS, BYTES / 255, True),
        (CHANNELS, BYTES * 255, True),
        (BINARY, BYTES * 255, True),
    ],
)
def test_rows_of_another_unit_are_told(step, rows, told, recwarn) -> None:
    step.inspect(np.asarray(rows, float))
    assert ["another unit" in str(warning.message) for warning in recwarn] == [True] * told


def test_channels_are_the_first_axis_or_the_last() -> None:
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    want = (x.reshape(2, 2, 3) / 255 - [[0.4], [0.02]]) / [[0.3], [0.01]]
    np.testing.assert_allclose(CHANNELS.encode(x), want.reshape(2, 6), rtol=1e-5)
    last = CHANNELS.model_copy(update={"mean": (0.1, 0.2, 0.3), "std": 0.5})
    want = (x.reshape(2, 2, 3) / 255 - [0.1, 0.2, 0.3]) / 0.5
    np.testing.assert_allclose(last.encode(x), want.reshape(2, 6), rtol=1e-5)
    assert ArrayPreprocessing.model_validate_json(last.model_dump_json()) == last
    with pytest.raises(ValueError, match="got 4 means or stds"):
        ArrayPreprocessing(shape=(2, 3), scale=1, mean=(1, 2, 3, 4), std=1)
    with pytest.raises(ValueError, match="greater than 0"):
        ArrayPreprocessing(shape=(2, 3), scale=1, mean=1, std=(1, 0))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros((3, 5)), r"\(3, 5\).*\(rows, 6\) or \(rows, 2, 3\)"),
        (np.zeros(6), r"x\[None\]"),
        (np.zeros((2, 3)), r"\(2, 3\)"),
        (np.float64(1), r"shape \(\)"),
        ([[0] * 6, [0, 1]], "unequal"),
        ([], r"shape \(0,\)"),
        ([[0, 0, 0, 0, 0, "7"]], "wanted numbers"),
        ([[0, 0, 0, 0, 0, None]], "wanted numbers"),
        (np.zeros((1, 6), bool), "wanted numbers"),
        ([[0, 0, 0, 0, 0, 10**400]], "wanted numbers"),
        ([[0] * 6, [0, 0, math.nan, 0, 0, 0]], "row 1, column 2"),
        ([[0, 0, 0, 0, -math.inf, 0]], "row 0, column 4"),
        ([[0, 0, 0, 0, 0, 1e300]], "row 0, column 5.*too large"),
        ([[0, 0, 0, 0, 0, 1e30]], "row 0, column 5.*too large"),  # would overflow in the network
        ("pixels", "wanted numbers"),
        ({"a": 1}, "wanted numbers"),
        (None, "wanted numbers"),
    ],
)
def test_an_unusable_array_is_refused(rows, says) -> None:
    with pytest.raises(DataError, match=says):
        IMAGE.encode(rows)


def test_encoding_leaves_its_input_alone(rng) -> None:
    x = rng.random((4, 6)).astype(np.float32)
    before = x.copy()
    IMAGE.encode(x)
    assert np.array_equal(x, before)


def test_fitted_arrays_have_mean_0_and_deviation_1(rng) -> None:
    rows = rng.integers(0, 17, (50, 4, 4), dtype=np.uint8)
    fitted = fit_array(rows, minimum=0, maximum=16)
    encoded = fitted.encode(rows)
    assert fitted.shape == (4, 4)
    assert encoded.mean() == pytest.approx(0, abs=1e-6)
    assert encoded.std() == pytest.approx(1, abs=1e-6)
    given_scale = fit_array(rows, minimum=0, maximum=16, mean=0.5, std=0.5)
    np.testing.assert_allclose(given_scale.encode(np.full((1, 16), 16)), 1)
    assert np.isfinite(fit_array(np.zeros((2, 3)), minimum=0, maximum=0).encode([[0] * 3])).all()
