import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from mcdrop.data.fitting import fit_table
from mcdrop.data.notes import RARE
from mcdrop.data.preprocessing import (
    ArrayPreprocessing,
    CategoricalColumn,
    NumericColumn,
    Preprocessing,
    TablePreprocessing,
)
from mcdrop.errors import DataError

IMAGE = ArrayPreprocessing(shape=(2, 3), scale=1 / 255, mean=0.5, std=0.25)
TABLE = TablePreprocessing(
    numeric=(
        NumericColumn(name="age", mean=40, std=10, missing=True),
        NumericColumn(name="hours", mean=35, std=5, missing=False),
    ),
    categorical=(
        CategoricalColumn(name="job", categories=("clerk", "nurse"), unknown=True, missing=True),
        CategoricalColumn(name="level", categories=("1", "2"), unknown=False, missing=False),
    ),
)
NUMBERS = TablePreprocessing(numeric=TABLE.numeric, categorical=())
RECORD = {"age": 50, "hours": 30.0, "job": "nurse", "level": 1}
ENCODED = [1, 0, -1, 0, 1, 0, 0, 1, 0]


def test_records_are_standardized_and_one_hot() -> None:
    np.testing.assert_allclose(TABLE.encode([RECORD]), [ENCODED])
    assert TABLE.features == len(ENCODED)
    assert TABLE.columns == ("age", "hours", "job", "level")


def test_missing_and_unknown_values_have_their_places() -> None:
    rows = [{}, {"age": None, "hours": math.nan, "job": "", "level": None}, {"job": "pilot"}]
    missing = [0, 1, 0, 0, 0, 0, 1, 0, 0]
    unknown = [0, 1, 0, 0, 0, 1, 0, 0, 0]
    np.testing.assert_array_equal(TABLE.encode(rows), [missing, missing, unknown])


def test_what_training_never_saw_fills_no_slot() -> None:
    no_slot = TABLE.encode([{**RECORD, "hours": None, "level": 7}])
    np.testing.assert_allclose(no_slot, [[1, 0, 0, 0, 1, 0, 0, 0, 0]])


@pytest.mark.parametrize("level", [1, 1.0, "1", "1.0", np.int64(1), np.float32(1)])
def test_a_label_reads_the_same_from_every_form(level) -> None:
    np.testing.assert_allclose(TABLE.encode([{**RECORD, "level": level}]), [ENCODED])


def test_truth_values_read_the_same_from_every_form() -> None:
    column = CategoricalColumn(
        name="own", categories=("false", "true"), unknown=False, missing=False
    )
    table = TablePreprocessing(numeric=(), categorical=(column,))
    expected = table.encode(pa.table({"own": [True, False]}))
    np.testing.assert_array_equal(expected, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(table.encode([{"own": True}, {"own": False}]), expected)
    np.testing.assert_array_equal(table.encode(pa.table({"own": ["True", "FALSE"]})), expected)


def table_of(**changes: object) -> pa.Table:
    return pa.table({**{name: [value] for name, value in RECORD.items()}, **changes})


@pytest.mark.parametrize("rows", [
    table_of(),
    table_of().select(["level", "job", "hours", "age"]),
    table_of().to_batches()[0],
    table_of(job=pa.array(["nurse"]).dictionary_encode()),
    table_of(job=pa.array(["nurse"], pa.large_string()), age=pa.array([50], pa.float16())),
    table_of(age=pa.array([50]).cast(pa.decimal128(21, 2)), level=["1"]),
    table_of(level=[1.0]),
    table_of(color=["red"]),
    {name: [value] for name, value in RECORD.items()},
])  # fmt: skip
def test_every_form_of_a_table_encodes_alike(rows) -> None:
    np.testing.assert_allclose(TABLE.encode(rows), [ENCODED])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (table_of(age=["50"]), "'age' holds string, wanted numbers"),
        (table_of(age=[True]), "'age' holds bool"),
        (table_of(age=[math.inf]), "row 0, column 'age'"),
        (table_of(job=[[1]]), "'job' holds list"),
        (table_of().drop_columns(["age", "job"]), "lacks columns: 'age', 'job'"),
        (pa.Table.from_arrays([pa.array([1])] * 2, ["age", "age"]), "'age' more than once"),
        ([RECORD, {**RECORD, "color": 1}], "row 1 has unknown columns: 'color'; known"),
        ([RECORD, {**RECORD, "age": "50"}], "row 1, column 'age': got '50', wanted a number"),
        ([{**RECORD, "age": True}], "row 0, column 'age': got True"),
        ([{**RECORD, "age": [1]}], "row 0, column 'age'"),
        ([{**RECORD, "age": -math.inf}], "row 0, column 'age'"),
        ([{**RECORD, "age": 10**400}], "too large"),
        ([{**RECORD, "age": 1e300}], "too large"),
        ([{**RECORD, "age": -1e30}], "too large"),
        ([{**RECORD, "job": ["nurse"]}], "row 0, column 'job': got .'nurse'.*wanted a text"),
        ([RECORD, 5], "row 1: got int, wanted a record"),
        ([], "wanted an Arrow table or a list"),
        ([[1, 2, 3, 4]], "without column names"),
        (np.zeros((1, 4)), "without column names"),
        (None, "without column names"),
    ],
)
def test_unusable_rows_of_a_table_are_refused(rows, says) -> None:
    with pytest.raises(DataError, match=says):
        TABLE.encode(rows)


def test_a_hostile_name_or_value_keeps_the_message_short() -> None:
    for row in ({"x" * 10_000: 1}, {"age": "y" * 10_000}):
        with pytest.raises(DataError) as caught:
            TABLE.encode([row])
        assert len(str(caught.value)) < 400


def test_a_table_of_numbers_takes_plain_arrays() -> None:
    rows = [[50.0, 30.0], [math.nan, 35.0]]
    expected = [[1, 0, -1], [0, 1, 0]]
    np.testing.assert_allclose(NUMBERS.encode(rows), expected)
    np.testing.assert_allclose(NUMBERS.encode(np.array(rows)), expected)
    with pytest.raises(DataError, match=r"\(1, 3\), wanted \(rows, 2\).*'age', 'hours'"):
        NUMBERS.encode([[1, 2, 3]])
    with pytest.raises(DataError, match="row 0, column 'hours'"):
        NUMBERS.encode([[1, math.inf]])


@pytest.mark.parametrize("preprocessing", [IMAGE, TABLE, NUMBERS])
def test_examples_are_json_and_encode(preprocessing) -> None:
    rows = json.loads(json.dumps(preprocessing.example(2)))
    assert preprocessing.encode(rows).shape == (2, preprocessing.features)


@pytest.mark.parametrize("preprocessing", [IMAGE, TABLE])
def test_json_and_back_is_the_same(preprocessing) -> None:
    adapter = TypeAdapter(Preprocessing)
    text = preprocessing.model_dump_json()
    assert adapter.validate_json(text) == preprocessing
    with pytest.raises(ValidationError):
        adapter.validate_python({**json.loads(text), "surprise": 1})


@given(hnp.arrays(np.float64, (6, 2), elements=st.floats(-1e9, 1e9) | st.just(math.nan)))
def test_a_fitted_table_standardizes_its_own_rows(values) -> None:
    table = pa.table({"a": values[:, 0], "b": values[:, 1], "c": ["k"] * 6})
    if np.isnan(values).all(axis=0).any():
        with pytest.raises(DataError, match="no value in any training row"):
            fit_table(table)
        return
    fitted = fit_table(table)
    encoded = fitted.encode(table)
    assert encoded.shape == (6, fitted.features)
    assert np.isfinite(encoded).all()
    at = 0
    for column, raw in zip(fitted.numeric, values.T, strict=True):
        known = ~np.isnan(raw)
        assert column.missing == (not known.all())
        assert abs(encoded[known, at].mean()) < 1e-2
        assert encoded[known, at].std() == pytest.approx(1, abs=1e-2) or np.ptp(raw[known]) < 1e-3
        assert (encoded[~known, at] == 0).all()
        if column.missing:
            np.testing.assert_array_equal(encoded[:, at + 1], ~known)
        at += column.width
    records = [{k: v for k, v in row.items() if v == v} for row in table.to_pylist()]
    np.testing.assert_array_equal(fitted.encode(records), encoded)


def test_rare_labels_train_the_slot_of_unknown_ones() -> None:
    jobs = ["nurse"] * RARE + ["clerk"] * (RARE + 1) + ["pilot"] * (RARE - 1) + ["judge", None]
    (column,) = fit_table(pa.table({"job": jobs})).categorical
    assert column.categories == ("clerk", "nurse")
    assert column.unknown
    assert column.missing
    assert column.encode(["pilot"]).tolist() == column.encode(["diver"]).tolist() == [[0, 0, 1, 0]]
    (column,) = fit_table(pa.table({"job": jobs[:-2]})).categorical
    assert not column.unknown  # too few rows for a slot, of one label or of several


def test_columns_are_told_apart() -> None:
    n = 2 * RARE
    table = pa.table(
        {
            "id": range(n),
            "zip": [10, 20] * RARE,
            "size": [1.5] * n,
            "own": [True, False] * RARE,
            "job": ["a", "b"] * RARE,
            "y": [0] * n,
        }
    )
    fitted = fit_table(table, drop=["id"], categorical=["zip"], target="y")
    assert [c.name for c in fitted.numeric] == ["size"]
    assert {c.name: c.categories for c in fitted.categorical} == {
        "zip": ("10", "20"),
        "own": ("false", "true"),
        "job": ("a", "b"),
    }
    assert fitted.numeric[0].std == 1  # a constant column divides by 1, not by 0


@pytest.mark.parametrize(
    ("table", "options", "says"),
    [
        ({"a": [1]}, {"drop": ["b"]}, "unknown columns: 'b'; known are 'a'"),
        ({"a": [1]}, {"categorical": ["b"]}, "unknown columns: 'b'"),
        ({"a": [1]}, {"target": "a"}, "no column left"),
        ({"a": pa.nulls(3)}, {}, "no value in any training row"),
        ({"a": [1, math.inf]}, {}, "infinite"),
        ({"a": [1e300, -1e300]}, {}, "too large"),
        ({"a": ["p", "q", "r"]}, {}, "'a' has 3 labels, none of them in 5 training rows"),
        ({"a": [{"b": 1}]}, {}, "'a' holds struct"),
    ],
)
def test_an_unusable_training_table_is_refused(table, options, says) -> None:
    with pytest.raises(DataError, match=says):
        fit_table(pa.table(table), **options)
