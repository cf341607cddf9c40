"""Predictions survive the way through bytes."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mcdrop
from mcdrop.errors import InputError
from mcdrop.packing import pack, unpack
from mcdrop.predictions import Predictions
from tests.models import SIZES, random_pixels, save_random_classifier, save_table_model


def assert_same(one: Predictions, two: Predictions) -> None:
    assert type(one) is type(two)
    for field in fields(one):
        first, second = getattr(one, field.name), getattr(two, field.name)
        if field.name == "deterministic":
            assert type(first) is type(second)
            np.testing.assert_array_equal(first.prediction, second.prediction)
        elif isinstance(first, np.ndarray):
            assert first.dtype == second.dtype
            np.testing.assert_array_equal(first, second)
        else:
            assert first == second


def test_both_kinds_come_back_whole(tmp_path: Path) -> None:
    classifier = mcdrop.load(save_random_classifier(tmp_path))
    found = classifier.predict(random_pixels(5), level=0.8, risk=0.2)
    assert_same(unpack(pack(found)), found)
    assert_same(unpack(pack(found.rows(slice(1, 3)))), found.rows(slice(1, 3)))
    sizes = mcdrop.load(save_table_model(tmp_path, "sizes", SIZES, targets=("mass", "price")))
    values = sizes.predict([[1.0, 2.0]])
    assert_same(unpack(pack(values)), values)


@given(st.binary(max_size=100))
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="no packed predictions"):
        unpack(content)


def test_bytes_that_lack_something_are_refused(tmp_path: Path) -> None:
    content = pack(mcdrop.load(save_random_classifier(tmp_path)).predict(random_pixels(2)))
    for wrong in (
        content[:-1],
        content.replace(b"novelty", b"noveltx"),
        content.replace(b"classification", b"qlassification"),
    ):
        with pytest.raises(InputError):
            unpack(wrong)
