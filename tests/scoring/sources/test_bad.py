"""Bad rows are named and set aside; bad files are refused by name."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdrop.errors import DataError
from mcdrop.scoring.rows import sift
from tests.forms import TABLE, UNUSABLE, pixels, write
from tests.scoring.sources.reading import FORMS, joined, read


@given(bad=st.sets(st.integers(0, 99)))
def test_sifting_finds_exactly_the_bad_ones(bad) -> None:
    def attempt(start, stop):
        if any(start <= i < stop for i in bad):
            raise DataError(f"row {min(i for i in bad if i >= start) - start}, column 2: no")
        return list(range(start, stop))

    done, found = sift(100, attempt)
    assert [i for part in done for i in part] == [i for i in range(100) if i not in bad]
    assert found == [(i, "column 2: no") for i in sorted(bad)]


BAD_CSV = {
    2: ("3,4", r"Expected 3 columns, got 2"),
    5: ("old,4,8", r"invalid value 'old'"),
    7: ("1e400,4,8", r"column 'age': NaN, infinity"),
    8: ("1,2,\udcff", r"invalid UTF8"),
}


def test_bad_rows_of_csv_are_named_and_the_others_read(tmp_path, small) -> None:
    lines = [BAD_CSV[i][0] if i in BAD_CSV else f"{i},2,8" for i in range(14)]
    text = "age,size,code\n" + "\n".join(lines[:6]) + "\n\n" + "\n".join(lines[6:])
    (tmp_path / "t.csv").write_bytes(text.encode(errors="surrogateescape"))
    chunks = read(tmp_path / "t.csv", TABLE, keep=["_row", "age"])
    x, kept = joined(chunks)
    good = [i for i in range(14) if i not in BAD_CSV]
    assert kept == {"_row": good, "age": list(map(str, good))}
    np.testing.assert_array_equal(x[:, 0], good)
    rejected = [bad for chunk in chunks for bad in chunk.rejected]
    assert [bad.row for bad in rejected] == list(BAD_CSV)
    for bad, (text, says) in zip(rejected, BAD_CSV.values(), strict=True):
        assert bad.file == str(tmp_path / "t.csv")
        assert says.split(r"\d")[0].replace("\\", "") in bad.reason
        assert bad.content == text.encode(errors="surrogateescape").decode(errors="replace")


def test_bad_rows_of_json_lines_are_named_and_the_others_read(tmp_path, small) -> None:
    bad = {1: "{", 3: '{"age": "old"}', 4: "[1]", 9: '{"id": "x"}', 10: '{"code": {}}'}
    lines = [
        bad.get(i, json.dumps({"id": i, "age": i, "size": None, "code": 8})) for i in range(14)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    chunks = read(tmp_path / "t.jsonl", TABLE, keep=["_row", "id"])
    good = [i for i in range(14) if i not in bad]
    x, kept = joined(chunks)
    assert kept == {"_row": good, "id": good}
    np.testing.assert_array_equal(x, TABLE.encode([{"age": i, "code": "8"} for i in good]))
    rejected = [one for chunk in chunks for one in chunk.rejected]
    assert [(one.row, one.content) for one in rejected] == list(bad.items())


@pytest.mark.parametrize("name", ["lists.parquet", "a.npy", "a.arrow", "lists.jsonl"])
def test_rows_that_do_not_fit_are_named_in_every_form(tmp_path, small, name) -> None:
    x = pixels(20).astype(np.float64)
    x[[4, 13], 2] = np.inf, np.nan
    path = write(tmp_path / name, x)
    if path.suffix == ".jsonl":
        path.write_text(path.read_text().replace("Infinity", "null").replace("NaN", "1e999"))
    chunks = read(path, keep=["_row"])
    assert joined(chunks)[1]["_row"] == [i for i in range(20) if i not in {4, 13}]
    assert [bad.row for chunk in chunks for bad in chunk.rejected] == [4, 13]


def test_lists_of_a_wrong_length_are_named(tmp_path) -> None:
    pq.write_table(pa.table({"x": [[1] * 6, [1] * 5, None, [2] * 6]}), tmp_path / "t.parquet")
    (chunk,) = read(tmp_path / "t.parquet")
    assert len(chunk.blocks[0][0]) == 2
    assert [(bad.row, bad.content) for bad in chunk.rejected] == [
        (1, '{"x":[1,1,1,1,1]}'),
        (2, '{"x":null}'),
    ]
    assert chunk.rejected[0].reason == "column 'x' has lists of 5 numbers, wanted 6"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        *UNUSABLE,
        ("t.csv", b"", "no rows"),
        ("t.csv", b"\nage,size,code\n1,2,8\n", "empty first line"),
        ("t.csv", b"1,2,8.5\n3,4,5\n", "header line"),
        ("t.csv", b"\xff\xfe\x00\n1", "is not UTF-8"),
        ("t.jsonl", b"", "no rows"),
        ("t.jsonl", b"no json", "first row is no JSON"),
        ("t.arrow", b"ARROW1 no footer", "cannot be read"),
        ("t.arrow", b"", "cannot be read"),
        ("t.npy", b"no array", "cannot be read"),
        ("t.png", b"", "the model takes none"),
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path, name, content, says) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read(path, TABLE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [n for n in FORMS if n.split(".")[-1] not in {"csv", "jsonl"}])
def test_a_truncated_file_is_refused(tmp_path, name) -> None:
    path = write(tmp_path / name, pixels(1000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 2 * 2 - 3])
    with pytest.raises(DataError, match=path.name):
        read(path)


def test_objects_are_never_unpickled(tmp_path) -> None:
    np.save(tmp_path / "t.npy", np.array([[{}] * 6], object), allow_pickle=True)
    with pytest.raises(DataError, match="plain numbers"):
        read(tmp_path / "t.npy")
    np.save(tmp_path / "t.npy", np.asfortranarray(pixels(4)))
    with pytest.raises(DataError, match="column-major"):
        read(tmp_path / "t.npy")
