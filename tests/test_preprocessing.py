import json
import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from mcdrop.data.fitting import fit_array, fit_table
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
