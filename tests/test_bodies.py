"""Bodies of every type become rows and options, or a clear refusal."""

import contextlib
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mcdrop_service import ask as wire_ask
from mcdrop_service import bodies
from mcdrop_service.ask import Ask, Body, Images, RefusedError
from mcdrop_service.bodies import read
from mcdrop_service.limits import BODY_BYTES, ROWS
from mcdrop_service.request import PredictRequest

JSON, BARE = "application/json", "application/octet-stream"
NPY, ARROW = "application/x-npy", "application/vnd.apache.arrow.stream"
X = np.arange(6, dtype=np.float32).reshape(2, 3)

number = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=True, allow_infinity=True, width=64)
)
scalar = st.one_of(number, st.booleans(), st.none(), st.text(max_size=3))
row = st.one_of(
    st.lists(number, max_size=4),
    st.lists(scalar, max_size=4),
    st.lists(st.lists(number, max_size=2), max_size=3),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "model": st.one_of(st.just("true"), st.text(max_size=4), scalar),
        "version": scalar,
        "samples": st.one_of(st.integers(-1, 10_001), st.just("auto"), scalar),
        "tolerance": scalar,
        "seed": scalar,
        "level": st.one_of(st.floats(0, 1), scalar),
        "fields": st.lists(scalar, max_size=3),
        "passes": scalar,
        "records": st.one_of(st.none(), st.lists(st.dictionaries(st.text(max_size=2), scalar))),
        "other": scalar,
    },
)


@given(st.lists(row, max_size=4), options)
def test_fast_json_takes_what_the_schema_takes_and_nothing_else(
    inputs: list[Any], given_options: dict[str, Any]
) -> None:
    content = json.dumps({"inputs": inputs, **given_options}).encode("utf-8", "surrogatepass")
    fast = bodies._fast(content, ROWS)
    if fast is None:
        return  # the schema decides
    rows, chosen = fast
    request = PredictRequest.model_validate_json(content)
    np.testing.assert_array_equal(rows, np.array(request.inputs, np.float64))
    assert chosen == request.chosen


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [[1, 2.5]], "samples": 3, "seed": 2**63 - 1, "model": "m", "version": 2},
        {"inputs": [[[1, 2], [3, 4]]] * ROWS, "level": 0.5, "fields": ["a"], "records": None},
    ],
)
def test_ordinary_json_is_read_fast(body: dict[str, Any]) -> None:
    assert bodies._fast(json.dumps(body).encode(), ROWS) is not None


def of(content: bytes, kind: str = JSON, **more: Any) -> Ask:
    return read(Ask(Body(content, kind, **more)))


def test_what_is_slow_to_read_is_read_too() -> None:
    assert of(b'{"records": [{"a": 1}]}').rows == [{"a": 1}]
    assert of(b'{"images": ["eA=="]}').rows == Images(["eA=="])
    mixed = of(b'{"inputs": [[1, 2]], "model": "true"}')
    assert (np.asarray(mixed.rows).tolist(), mixed.model) == ([[1.0, 2.0]], "true")


def npy(x: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, x, **options)
    return stream.getvalue()


def arrow(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


LISTS = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 3)})
WORDS = pa.table({"a": [1, None], "b": pa.array(["x", "y"]).dictionary_encode()})


@pytest.mark.parametrize(
    ("content", "kind", "shape"),
    [
        (X.tobytes(), BARE, "2,3"),
        (npy(X), NPY, ""),
        (npy(np.asfortranarray(X)), NPY, ""),
        (npy(X.astype(">f8")), NPY, ""),
        (npy(X.astype(np.uint8)), NPY, ""),
        (arrow(LISTS), ARROW, ""),
    ],
)
def test_binary_numbers(content: bytes, kind: str, shape: str) -> None:
    ask = of(content, kind, shape=shape, query="samples=7&fields=a,b&model=m&passes=true")
    np.testing.assert_array_equal(np.asarray(ask.rows), X)
    assert (ask.samples, ask.fields, ask.model, ask.passes) == (7, ("a", "b"), "m", True)


def test_arrow_columns_are_a_table() -> None:
    rows = of(arrow(WORDS), ARROW).rows
    assert isinstance(rows, pa.Table)
    assert rows.to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 4, 5)])
def test_rows_of_any_nesting_are_taken_in_every_form(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    slow = [*x.tolist()[:1], *x.astype(int).tolist()[1:]]
    for ask in (
        of(json.dumps({"inputs": x.tolist()}).encode()),
        of(json.dumps({"inputs": slow, "model": "true"}).encode()),  # not by the fast way
        of(x.tobytes(), BARE, shape=",".join(map(str, shape))),
        of(npy(x), NPY),
    ):
        np.testing.assert_array_equal(np.asarray(ask.rows), x)


def test_one_bare_row_needs_no_shape() -> None:
    assert np.asarray(of(X.tobytes(), BARE).rows).shape == (1, 6)


def test_gzip() -> None:
    assert np.asarray(of(gzip.compress(b'{"inputs": [[1]]}'), gzip=True).rows).tolist() == [[1.0]]


BOMB = gzip.compress(b" " * (BODY_BYTES + 1))
HUGE = npy(X).replace(b"(2, 3)", b"(2**9,)")
REFUSED: dict[str, tuple[Callable[[], Ask], int, str]] = {
    "a bomb": (lambda: of(BOMB, gzip=True), 413, "16 MiB"),
    "half a gzip": (lambda: of(gzip.compress(b"[]")[:-3], gzip=True), 400, "cut short"),
    "no gzip": (lambda: of(b"{}", gzip=True), 400, "not gzip"),
    "odd bytes": (lambda: of(b"12345", BARE), 422, "4 bytes a number"),
    "no bytes": (lambda: of(b"", BARE), 422, "4 bytes a number"),
    "another shape": (lambda: of(X.tobytes(), BARE, shape="2,4"), 422, "wanted 8 of shape"),
    "no shape": (lambda: of(X.tobytes(), BARE, shape="-1,3"), 422, "wanted sizes such as"),
    "many rows": (
        lambda: of(bytes(4 * (ROWS + 1)), BARE, shape=f"{ROWS + 1},1"),
        422,
        "4,097 rows",
    ),
    "no rows": (lambda: of(npy(X[:0]), NPY), 422, "got 0 rows, wanted 1 to 4,096"),
    "pickled": (lambda: of(npy(np.array([{}]), allow_pickle=True), NPY), 422, "wanted numbers"),
    "text": (lambda: of(npy(np.array([["a"]])), NPY), 422, "wanted numbers"),
    "no npy": (lambda: of(b"PK\x03\x04", NPY), 422, "no .npy file"),
    "an odd header": (lambda: of(HUGE, NPY), 422, ""),
    "a short npy": (lambda: of(npy(X)[:-4], NPY), 422, "all of them"),
    "many axes": (lambda: of(npy(X[None, None, None, None]), NPY), 422, "wanted (rows, ...)"),
    "a flat npy": (lambda: of(npy(X[0]), NPY), 422, "wanted (rows, ...)"),
    "zstd": (lambda: of(arrow(pa.table({"a": [1.0] * 999}), compression="zstd"), ARROW), 415, ""),
    "lz4 words": (lambda: of(arrow(WORDS, compression="lz4"), ARROW), 415, "compressed"),
    "no Arrow": (lambda: of(b"ARROW1", ARROW), 422, "no Arrow IPC stream"),
    "half Arrow": (lambda: of(arrow(LISTS)[:-60], ARROW), 422, ""),
    "lists of nulls": (
        lambda: of(
            arrow(pa.table({"x": pa.array([[1.0, None]], pa.list_(pa.float32(), 2))})), ARROW
        ),
        422,
        "lists of numbers",
    ),
    "a typo": (lambda: of(X.tobytes(), BARE, query="smaples=3"), 422, "unknown field 'smaples'"),
    "no number": (lambda: of(X.tobytes(), BARE, query="samples=x"), 422, "samples: "),
    "many options": (lambda: of(X.tobytes(), BARE, query="&".join(["a=1"] * 99)), 422, "many"),
    "auto": (
        lambda: of(b'{"inputs": [[1]], "samples": "auto", "passes": true}'),
        422,
        "wanted a number of samples",
    ),
    "both places": (lambda: of(b'{"inputs": [[1]]}', query="samples=3"), 422, "in the JSON body"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_bodies_are_refused(case: str) -> None:
    ask, status, said = REFUSED[case]
    with pytest.raises(RefusedError) as refused:
        ask()
    assert refused.value.status == status
    assert said in str(refused.value)


@given(st.binary(max_size=300))
def test_no_bytes_break_a_reader(content: bytes) -> None:
    for kind in (JSON, BARE, NPY, ARROW):
        for packed in (True, False):
            with contextlib.suppress(RefusedError):  # and nothing else
                of(content, kind, gzip=packed)


@given(st.integers(0, 400), st.integers(0, 255))
def test_no_damage_breaks_a_reader(place: int, value: int) -> None:
    for content, kind in ((npy(X), NPY), (arrow(WORDS), ARROW)):
        damaged = bytearray(content)
        damaged[place % len(damaged)] = value
        with contextlib.suppress(RefusedError):  # and nothing else
            of(bytes(damaged), kind)


@pytest.mark.parametrize("options", [{"model": "x" * 129}, {"fields": ["prediction", "x" * 129]}])
def test_texts_are_short_for_what_is_read_is_kept(options: dict[str, Any]) -> None:
    before = bodies._chosen.cache_info().currsize
    with pytest.raises(RefusedError, match="128") as caught:
        read(Ask(Body(json.dumps({"inputs": [[1]], **options}).encode(), JSON)))
    assert (caught.value.status, bodies._chosen.cache_info().currsize) == (422, before)


def test_long_heads_of_asks_are_read_and_not_kept() -> None:
    for extra, kept in (({"id": "a"}, 1), ({"id": "a" * 2**16}, 0)):
        asked = Ask(X, "m", extra=extra, id="one", deadline=2.0)
        before = wire_ask._shared.cache_info().currsize
        got = Ask.unpack(*asked.pack())
        assert (got.extra, got.id, got.deadline) == (extra, "one", 2.0)
        np.testing.assert_array_equal(got.rows, X)
        assert wire_ask._shared.cache_info().currsize == before + kept


def test_the_schema_refuses_what_the_fast_way_leaves() -> None:
    with pytest.raises(ValidationError):
        PredictRequest.model_validate_json(b'{"inputs": [[true]]}')
    with pytest.raises(RefusedError, match=r"inputs\[0\]\[0\]"):
        of(b'{"inputs": [[true]]}')


THREE = X.repeat(2, axis=0)[:3]
FORMS: dict[str, tuple[bytes, str, str]] = {
    "inputs": (json.dumps({"inputs": THREE.tolist()}).encode(), JSON, ""),
    "records": (b'{"records": [{}, {}, {}]}', JSON, ""),
    "images": (b'{"images": ["eA==", "eA==", "eA=="]}', JSON, ""),
    "float32": (THREE.tobytes(), BARE, "3,3"),
    "npy": (npy(THREE), NPY, ""),
    "arrow": (arrow(pa.table({"a": [1, 2, 3]})), ARROW, ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_server_says_how_many_rows_may_come(form: str) -> None:
    content, kind, shape = FORMS[form]
    ask = Ask(Body(content, kind, shape=shape))
    assert read(ask, 3).rows is not None
    with pytest.raises(RefusedError, match=r"wanted .*2") as refused:
        read(ask, 2)
    assert refused.value.status == 422
