import io
import math
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcdrop.data.files import read_arrays, read_batches, read_table
from mcdrop.errors import DataError
from tests.forms import ARRAYS, IMAGE, NUMBERS, TABLE, TABLES, UNUSABLE, pixels, write

FORMS = [*TABLES, *ARRAYS, "A.PARQUET"]


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 40), block=st.integers(1, 45))
def test_blocks_are_exact_in_order_and_complete(name, tmp_path, rows, block) -> None:
    x = pixels(rows)
    path = write(tmp_path / name, x)
    blocks = list(read_batches(path, IMAGE, rows=block))
    assert [len(b) for b in blocks] == [block] * (rows // block) + [rows % block] * bool(
        rows % block
    )
    found = np.concatenate([b.reshape(len(b), -1) for b in blocks])
    np.testing.assert_array_equal(found, x)


def test_types_come_from_the_model_and_not_from_the_first_rows(tmp_path) -> None:
    text = "note,code,size,age\n" + "n,007,1,\n" * 50_000 + 'n,"8",2.5,30\nn,,nan,1e2\n'
    (tmp_path / "t.csv").write_text(text)
    *_, last = read_batches(tmp_path / "t.csv", TABLE, rows=50_000)
    assert last.column_names == ["age", "size", "code"]
    assert last["code"].to_pylist() == ["8", None]
    assert last["age"].to_pylist() == [30, 100]
    assert last["size"][0].as_py() == 2.5
    assert math.isnan(last["size"][1].as_py())
    assert TABLE.encode(last).shape == (2, TABLE.features)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_may_carry_other_columns_in_any_order(tmp_path, suffix) -> None:
    table = pa.table({"note": ["a", "b"], "code": ["8", "8"], "size": [1, 2], "age": [3, 4]})
    path = tmp_path / f"t{suffix}"
    pa_csv.write_csv(table, path) if suffix == ".csv" else pq.write_table(table, path)
    (block,) = read_batches(path, TABLE, rows=10)
    np.testing.assert_array_equal(TABLE.encode(block), TABLE.encode(table.drop_columns(["note"])))


def test_an_array_of_a_tables_columns_is_read(tmp_path) -> None:
    np.savez(tmp_path / "t.npz", x=np.array([[1.0, 2], [np.nan, 4]]))
    (block,) = read_batches(tmp_path / "t.npz", NUMBERS, rows=10)
    np.testing.assert_array_equal(NUMBERS.encode(block), [[1, 0, 2, 0], [0, 1, 4, 0]])


def test_places_are_names_but_other_numbers_are_data(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("0,1,2,3,4,5\n9,9,9,9,9,9\n")
    (block,) = read_batches(path, IMAGE, rows=10)
    np.testing.assert_array_equal(block, [[9] * 6])
    path.write_text("9,8,7,6,5,5\n9,9,9,9,9,9\n")
    with pytest.raises(DataError, match="header line"):
        next(read_batches(path, IMAGE, rows=10))


def test_byte_order_mark_and_line_breaks_in_quotes(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfage,size,code\r\n1,2,"a\nb"\r\n3,4,8\r\n')
    (block,) = read_batches(path, TABLE, rows=10)
    assert block["code"].to_pylist() == ["a\nb", "8"]


def test_whole_tables_keep_texts(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("n,code,day,own,gap,word\n1,007,2024-01-02,True,,\n2.5,8,2024-01-03,False,,b\n")
    table = read_table(path, text=["code", "absent"])
    assert table.schema.field("n").type == pa.float64()
    assert table["code"].to_pylist() == ["007", "8"]
    assert table["day"].to_pylist() == ["2024-01-02", "2024-01-03"]
    assert table["own"].to_pylist() == ["True", "False"]
    assert table["word"].to_pylist() == [None, "b"]
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(table)


def test_whole_arrays(tmp_path, rng) -> None:
    x, y = rng.random((20_000, 2, 3), np.float32), rng.integers(0, 3, 20_000)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    for found, wrote in zip(read_arrays(tmp_path / "t.npz"), (x, y), strict=True):
        np.testing.assert_array_equal(found, wrote)
        assert found.dtype == wrote.dtype
    np.savez(tmp_path / "t.npz", x=x, y=y[:-1])
    with pytest.raises(DataError, match="20000 rows of x and 19999 of y"):
        read_arrays(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        *UNUSABLE,
        ("t.txt", b"1", "give .csv, .parquet or .npz"),
        ("t.csv", None, "no file at"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n", "is empty"),
        ("t.csv", b"\nage,size,code\n1,2,8\n", "or its first line is"),
        ("t.csv", b"age;size;code\n1;2,5;8\n", "separates columns by ';': save it with commas"),
        ("t.csv", b"age,size,code\n1,2,8\n3,4\n", r"#3: Expected 3 columns, got 2"),
        ("t.csv", b"age,size,code\n1,2,8\nold,4,8\n", r"invalid value 'old'"),
        ("t.csv", b"age,size,code\n1,2,\xff\xfe\n", "codec"),
        ("t.csv", b"\xff\xfe\x00", "is not UTF-8 .* save it as UTF-8"),
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path, name, content, says) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        list(read_batches(path, TABLE, rows=10))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", FORMS)
def test_a_truncated_file_is_refused(tmp_path, name) -> None:
    path = write(tmp_path / name, pixels(1000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 2 * 2 - 3])
    if path.suffix == ".csv":
        path.write_bytes(content.rsplit(b",", 1)[0])
    with pytest.raises(DataError, match=path.name):
        list(read_batches(path, IMAGE, rows=10))


def test_a_folder_is_no_file(tmp_path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(DataError, match="no file at"):
        list(read_batches(tmp_path / "t.csv", IMAGE, rows=10))


def save_npz(path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def npy(array, shape=None, dtype=None) -> bytes:
    """``array`` in NPY form; its header may lie."""
    stream = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    header |= {"shape": shape or array.shape, "descr": dtype or header["descr"]}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + array.tobytes()


X = np.zeros((4, 6), np.float32)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (npy(X, shape=(5, 6)), "ends before row 5 of 5"),
        (npy(X, shape=(10**12, 6)), "ends before row"),
        (npy(X, shape=(3, 6)), "goes on after its 3 rows"),
        (npy(X, shape=(0, 6)), "header is wrong"),
        (npy(X, shape=(4, 10**15)), r"wanted 6 numbers a row"),
        (npy(X, shape=(4, -2, -3)), "cannot be read"),
        (npy(X, shape=(-4, 6)), "header is wrong"),
        (npy(X.reshape(24)), "wanted 6 numbers a row"),
        (npy(np.float32(1)), "single value"),
        (npy(X[:0]), "no rows"),
        (npy(X, dtype="|O"), "object, wanted plain numbers"),
        (npy(X, dtype=[("a", "<f4")]), "wanted plain numbers"),
        (b"\x93NUMPY\x03\x00", "NPY version"),
        (b"no array", "cannot be read"),
    ],
)
def test_a_lying_array_is_refused(tmp_path, x, says) -> None:
    save_npz(tmp_path / "t.npz", x=x)
    with pytest.raises(DataError, match=says):
        list(read_batches(tmp_path / "t.npz", IMAGE, rows=2))


def test_a_lying_column_major_array_is_refused(tmp_path) -> None:
    content = npy(np.asfortranarray(X), shape=(5, 6))
    save_npz(tmp_path / "t.npz", x=content)
    with pytest.raises(DataError, match="bytes, wanted"):
        list(read_batches(tmp_path / "t.npz", IMAGE, rows=2))


def test_a_flipped_bit_is_noticed(tmp_path) -> None:
    path = write(tmp_path / "a.npz", pixels(1000))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="CRC"):
        list(read_batches(path, IMAGE, rows=10))


def test_objects_are_never_unpickled(tmp_path) -> None:
    np.savez(tmp_path / "t.npz", x=np.array([[{}] * 6], object), y=np.zeros(1))
    with pytest.raises(DataError, match="plain numbers"):
        list(read_batches(tmp_path / "t.npz", IMAGE, rows=2))
    with pytest.raises(DataError, match="plain numbers"):
        read_arrays(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("preprocessing", "says"),
    [(IMAGE, "wanted 6 numbers a row"), (TABLE, "named columns"), (NUMBERS, "wanted 2 numbers")],
)
def test_an_array_of_another_width_is_refused(tmp_path, preprocessing, says) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 4)))
    with pytest.raises(DataError, match=says):
        list(read_batches(tmp_path / "t.npz", preprocessing, rows=2))


def test_an_archive_without_x_says_what_it_has(tmp_path) -> None:
    np.savez(tmp_path / "t.npz", images=X)
    with pytest.raises(DataError, match=r"no array 'x' \(it has 'images'\)"):
        list(read_batches(tmp_path / "t.npz", IMAGE, rows=2))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a": [1], "b": [2]}, "2 columns, wanted exactly the 6"),
        ({f"p{i}": ["1"] for i in range(6)}, "'p0' holds string"),
        ({"x": [[1, 2]]}, "lists of 2 numbers, wanted 6"),
        ({"x": [[1] * 6, None]}, "wanted 6"),
        ({"x": [["1"] * 6]}, "'x' holds string"),
    ],
)
def test_parquet_without_the_arrays_columns_is_refused(tmp_path, columns, says) -> None:
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=says):
        list(read_batches(tmp_path / "t.parquet", IMAGE, rows=2))


def test_an_error_of_the_consumer_is_not_blamed_on_the_file(tmp_path) -> None:
    path = write(tmp_path / "a.npz", pixels(4))

    def consume() -> None:
        for _ in read_batches(path, IMAGE, rows=2):
            raise OSError("disk of the consumer")

    with pytest.raises(OSError, match="disk of the consumer") as caught:
        consume()
    assert not isinstance(caught.value, DataError)
