"""Every kind of file gives the same rows, and says by name and row what is wrong with it."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.errors import DataError
from mcdrop.scoring import rows as block_sizes
from mcdrop.scoring.lines import records, runs
from mcdrop.scoring.places import find
from mcdrop.scoring.rows import CHUNK, sift
from mcdrop.scoring.sources import Sources
from tests.forms import ARRAYS, IMAGE, STREAMED, TABLE, TABLES, pixels, write

FORMS = [*TABLES, *ARRAYS, *STREAMED]


def read(path, preprocessing=IMAGE, keep=(), skip=()):
    """Chunks, as they are."""
    sources = Sources(find(str(path)), preprocessing, keep)
    return [chunk for piece in sources.plan() for chunk in sources.chunks(piece, skip)]


def joined(chunks):
    blocks = [block for chunk in chunks for block in chunk.blocks if len(block[0])]
    kept = [table for _, table in blocks]
    return np.concatenate([rows.x for rows, _ in blocks]), pa.concat_tables(kept).to_pydict()


@pytest.fixture
def small(monkeypatch):
    """Chunks of six rows, in blocks of three, so that small files have many."""
    for module in ("rows", "batches", "arrays", "text", "pictures", "sources"):
        for name, size in (("BLOCK", 3), ("CHUNK", 6)):
            monkeypatch.setattr(f"mcdrop.scoring.{module}.{name}", size, raising=False)


@pytest.mark.parametrize("name", FORMS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.integers(1, 40))
def test_chunks_are_exact_in_order_and_complete(name, tmp_path, small, rows) -> None:
    x = pixels(rows)
    path = write(tmp_path / name, x)
    chunks = read(path, keep=["_row", "_file"])
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    found, kept = joined(chunks)
    np.testing.assert_array_equal(found, IMAGE.encode(x))
    assert kept == {"_row": list(range(rows)), "_file": [str(path)] * rows}
    assert all(len(rows) <= 3 for chunk in chunks for rows, _ in chunk.blocks)
    again = read(path, skip=range(0, len(chunks), 2))
    assert [chunk.number for chunk in again] == list(range(1, len(chunks), 2))
    for chunk in again:
        for (one, _), (other, _) in zip(chunk.blocks, chunks[chunk.number].blocks, strict=True):
            np.testing.assert_array_equal(one.x, other.x)


def test_a_folder_is_its_files_in_order_of_their_names(tmp_path, small) -> None:
    x = pixels(30)
    (tmp_path / "deep").mkdir()
    for i, name in enumerate(["a.csv", "b.csv", "deep/c.csv"]):
        write(tmp_path / name, x[10 * i : 10 * i + 10])
    write(tmp_path / "_hidden.csv", x)
    found, kept = joined(read(tmp_path, keep=["_file", "_row"]))
    np.testing.assert_array_equal(found, IMAGE.encode(x))
    assert kept["_row"] == [*range(10)] * 3
    assert kept["_file"][::10] == [str(tmp_path / n) for n in ("a.csv", "b.csv", "deep/c.csv")]
    found, _ = joined(read(tmp_path / "[ab].csv"))
    assert len(found) == 20
    write(tmp_path / "d.npy", x)
    with pytest.raises(DataError, match="several kinds"):
        find(str(tmp_path))
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"notes\.txt is of no kind"):
        find(str(tmp_path))
    with pytest.raises(DataError, match="no file at"):
        find(str(tmp_path / "absent*.csv"))


@given(
    texts=st.lists(st.text('ab,"\n\r', max_size=8), min_size=1, max_size=40),
    rows=st.integers(1, 5),
    crlf=st.booleans(),
)
def test_runs_of_csv_hold_whole_rows(texts, rows, crlf) -> None:
    end = "\r\n" if crlf else "\n"
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    content = end.join(quoted).encode() + b"\n\n"
    found = list(runs(io.BytesIO(content), 0, rows, quotes=True))
    assert sum(run.rows for run in found) == len(texts)
    assert [run.start for run in found] == [0, *(run.stop for run in found[:-1])]
    for run in found:
        part = content[run.start : run.stop]
        options = pa_csv.ParseOptions(newlines_in_values=True)
        names = pa_csv.ReadOptions(column_names=["a"])
        table = pa_csv.read_csv(io.BytesIO(part), names, options)
        assert table.num_rows == run.rows
    assert len(records(content, quotes=True)) == len(texts)


def test_runs_do_not_depend_on_how_a_file_is_read(monkeypatch) -> None:
    content = b'a,"b\nc"\r\n\r\n\nd,e\n"f\r\n",g\nh' * 30
    whole = list(runs(io.BytesIO(content), 0, 4, quotes=True))
    for size in (1, 2, 3, 7):
        monkeypatch.setattr("mcdrop.scoring.lines._BUFFER", size)
        assert list(runs(io.BytesIO(content), 0, 4, quotes=True)) == whole


@given(bad=st.sets(st.integers(0, 99)))
def test_sifting_finds_exactly_the_bad_ones(bad) -> None:
    def attempt(start, stop):
        if any(start <= i < stop for i in bad):
            raise DataError(f"row {min(i for i in bad if i >= start) - start}, column 2: no")
        return list(range(start, stop))

    done, found = sift(100, attempt)
    assert [i for part in done for i in part] == [i for i in range(100) if i not in bad]
    assert found == [(i, "column 2: no") for i in sorted(bad)]


def test_types_come_from_the_model_and_not_from_the_first_rows(tmp_path) -> None:
    text = "note,code,size,age\n" + "n,007,1,\n" * CHUNK + 'n,"8",2.5,30\n"n\nn",,nan,1e2\n'
    (tmp_path / "t.csv").write_text(text)
    x, kept = joined(read(tmp_path / "t.csv", TABLE, keep=["note", "age"]))
    expected = [{"code": "8", "size": 2.5, "age": 30}, {"size": None, "age": 100}]
    np.testing.assert_array_equal(x[-2:], TABLE.encode(expected))
    assert kept["note"][-2:] == ["n", "n\nn"]
    assert kept["age"][-3:] == [None, "30", "1e2"]  # as it stands


def test_kept_columns_have_the_types_of_the_source(tmp_path) -> None:
    table = pa.table(
        {"note": ["a", "b"], "code": ["8", "8"], "size": [1, 2], "age": [3, 4], "day": [5, 6]}
    )
    table = table.set_column(4, "day", table["day"].cast(pa.int32()).cast(pa.date32()))
    pq.write_table(table, tmp_path / "t.parquet")
    feather.write_feather(table, tmp_path / "t.feather")
    for name in ("t.parquet", "t.feather"):
        sources = Sources(find(str(tmp_path / name)), TABLE, ["*"])
        assert sources.fields.equals(table.schema)
        x, kept = joined(read(tmp_path / name, TABLE, keep=["*"]))
        np.testing.assert_array_equal(x, TABLE.encode(table.select(["age", "size", "code"])))
        assert kept == table.to_pydict()
    rows = [{"id": 1, "n": "a", "age": 3, "f": 1.5, "ok": True}, {"id": 2, "n": "b", "size": 1.0}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    x, kept = joined(read(tmp_path / "t.jsonl", TABLE, keep=["id", "n", "f", "ok"]))
    assert kept == {"id": [1, 2], "n": ["a", "b"], "f": [1.5, None], "ok": [True, None]}
    np.testing.assert_array_equal(x, TABLE.encode([{"age": 3}, {"size": 1.0}]))


def test_arrays_keep_columns_besides_their_own(tmp_path) -> None:
    x = pixels(5)
    table = pa.table({"id": list("abcde")} | {f"p{i}": c for i, c in enumerate(x.T)})
    pa_csv.write_csv(table, tmp_path / "t.csv")
    found, kept = joined(read(tmp_path / "t.csv", keep=["id"]))
    np.testing.assert_array_equal(found, IMAGE.encode(x))
    assert kept == {"id": list("abcde")}
    with pytest.raises(DataError, match=r"7 columns, wanted exactly the 6"):
        read(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"no column 'ID' to keep"):
        read(tmp_path / "t.csv", keep=["ID"])
    np.savez(tmp_path / "t.npz", x=x, name=np.array(list("abcde")), y=np.zeros((5, 2)))
    assert joined(read(tmp_path / "t.npz", keep=["name"]))[1] == {"name": list("abcde")}
    with pytest.raises(DataError, match=r"y has the shape \(5, 2\)"):
        read(tmp_path / "t.npz", keep=["y"])
    np.save(tmp_path / "t.npy", x)
    with pytest.raises(DataError, match=r"no column 'id'"):
        read(tmp_path / "t.npy", keep=["id"])


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
    lines = [bad.get(i, json.dumps({"id": i, "age": i, "code": 8})) for i in range(14)]
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
        ("t.csv", b"", "no rows"),
        ("t.csv", b"age,size,code\n", "no rows"),
        ("t.csv", b"age,code\n1,8\n", "lacks columns: 'size'; it has 'age', 'code'"),
        ("t.csv", b"age,size,code,age\n1,2,8,1\n", "'age' more than once"),
        ("t.csv", b"1,2,8.5\n3,4,5\n", "header line"),
        ("t.csv", b"\xff\xfe\x00\n1", "is not UTF-8"),
        ("t.jsonl", b"", "no rows"),
        ("t.jsonl", b"no json", "first row is no JSON"),
        ("t.parquet", b"PAR1 no footer", "cannot be read"),
        ("t.parquet", b"", "cannot be read"),
        ("t.arrow", b"ARROW1 no footer", "cannot be read"),
        ("t.arrow", b"", "cannot be read"),
        ("t.npy", b"no array", "cannot be read"),
        ("t.npz", b"PK no archive", "cannot be read"),
        ("t.npz", b"", "cannot be read"),
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


def test_a_column_of_a_wrong_type_is_refused_at_once(tmp_path) -> None:
    pq.write_table(pa.table({f"p{i}": ["1"] for i in range(6)}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'p0' holds string"):
        read(tmp_path / "t.parquet")
    pq.write_table(pa.table({"age": ["1"], "size": [1], "code": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'age' holds string"):
        read(tmp_path / "t.parquet", TABLE)


def test_objects_are_never_unpickled(tmp_path) -> None:
    np.save(tmp_path / "t.npy", np.array([[{}] * 6], object), allow_pickle=True)
    with pytest.raises(DataError, match="plain numbers"):
        read(tmp_path / "t.npy")
    np.save(tmp_path / "t.npy", np.asfortranarray(pixels(4)))
    with pytest.raises(DataError, match="column-major"):
        read(tmp_path / "t.npy")


def test_pictures_become_what_the_model_was_trained_on(tmp_path, small, rng) -> None:
    gray = rng.integers(0, 256, (20, 2, 3), np.uint8)
    names = [f"{i:02d}.png" for i in range(20)]
    for name, picture in zip(names, gray, strict=True):
        Image.fromarray(picture).save(tmp_path / name)
    Image.fromarray(np.full((40, 60, 3), 100, np.uint8)).save(tmp_path / "20.png")  # color, large
    Image.new("RGBA", (3, 2), (255, 255, 255, 0)).save(tmp_path / "21.png")  # transparent
    (tmp_path / "07.png").write_bytes(b"no picture")
    chunks = read(tmp_path, keep=["_file"])
    x, kept = joined(chunks)
    assert kept["_file"] == [
        str(tmp_path / n) for n in [*names, "20.png", "21.png"] if n != names[7]
    ]
    np.testing.assert_array_equal(x[:19], IMAGE.encode(np.delete(gray, 7, axis=0)))
    np.testing.assert_allclose(x[19] * 255, 100, atol=1)
    np.testing.assert_array_equal(x[20], 0)
    (bad,) = [bad for chunk in chunks for bad in chunk.rejected]
    assert (bad.file, bad.row) == (str(tmp_path / "07.png"), 0)
    assert "no picture" in bad.reason
    half = ArrayPreprocessing(shape=(2, 3), scale=1, mean=0, std=1, minimum=2, maximum=18)
    x, _ = joined(read(tmp_path / "00.png", half))
    np.testing.assert_allclose(x[0], 2 + gray[0].reshape(-1) * (16 / 255), rtol=1e-6)


def test_blocks_are_whole_row_blocks_of_the_posterior() -> None:
    assert CHUNK % block_sizes.BLOCK == 0
    assert block_sizes.BLOCK % 4096 == 0


@pytest.mark.parametrize("done", [frozenset(), frozenset({1, 4, 5})])
def test_a_large_piece_is_shared_out_to_workers(tmp_path, small, monkeypatch, done) -> None:
    from mcdrop.scoring import scoring

    monkeypatch.setattr(scoring, "_SHARE", 2)
    path = write(tmp_path / "a.npz", pixels(40))  # one piece of seven chunks
    sources = Sources(find(str(path)), IMAGE, ["_row"])
    plan = scoring._Plan(sources, done, shared=True)
    shares = [[c.number for c in sources.chunks(piece, skip)] for piece, skip in plan]
    left = [i for i in range(7) if i not in done]
    assert shares == [left[i : i + 2] for i in range(0, len(left), 2)]
    assert (plan.rows, plan.chunks) == (40, 7)
    alone = [*scoring._Plan(sources, done, shared=False)]
    assert [[c.number for c in sources.chunks(*work)] for work in alone] == [left]
