"""Columns of numbers as one matrix: the numbers that each column has alone."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdrop.data.columns import matrix, numbers
from mcdrop.errors import DataError

KINDS = {
    pa.uint8(): st.integers(0, 255),
    pa.int64(): st.integers(-(2**52), 2**52),
    pa.uint64(): st.integers(0, 2**64 - 2**12),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.decimal128(6, 2): st.integers(-9999, 9999).map(Decimal),
    pa.null(): st.none(),
}


@st.composite
def columns(draw) -> pa.ChunkedArray:
    kind = draw(st.sampled_from(list(KINDS)))
    value = KINDS[kind] | st.none() if draw(st.booleans()) else KINDS[kind]
    values = draw(st.lists(value, min_size=5, max_size=5))
    if draw(st.booleans()):
        return pa.chunked_array([pa.array(values, kind)])
    return pa.chunked_array([pa.array(values[:2], kind), pa.array(values[2:], kind)])


@given(st.lists(columns(), min_size=1, max_size=4), st.integers(0, 4))
def test_a_matrix_holds_what_each_column_holds_alone(found, start) -> None:
    table = pa.table(dict(zip("abcd", found, strict=False))).slice(start)
    expected = np.column_stack([numbers(table[name], name) for name in table.column_names])
    np.testing.assert_array_equal(matrix(table), expected)


def test_pixels_stay_as_small_as_they_are() -> None:
    table = pa.table({name: pa.array([1, 2], pa.uint8()) for name in "abc"})
    assert matrix(table).dtype == np.uint8
    assert matrix(table).flags.c_contiguous


def test_a_column_of_texts_is_named() -> None:
    with pytest.raises(DataError, match="column 'b' holds string"):
        matrix(pa.table({"a": [1.0], "b": ["1"]}))
