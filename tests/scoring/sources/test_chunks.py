"""Every kind of file gives the same rows, whole, in order and in chunks of one size."""

import io

import numpy as np
import pyarrow.csv as pa_csv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcdrop.errors import DataError
from mcdrop.scoring import rows as block_sizes
from mcdrop.scoring import sharing
from mcdrop.scoring.lines import records, runs
from mcdrop.scoring.places import find
from mcdrop.scoring.rows import CHUNK
from mcdrop.scoring.sources import Sources
from tests.forms import IMAGE, pixels, write
from tests.scoring.sources.reading import FORMS, joined, read


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_blocks_are_whole_row_blocks_of_the_posterior() -> None:
    assert CHUNK % block_sizes.BLOCK == 0
    assert block_sizes.BLOCK % 4096 == 0


@pytest.mark.parametrize("done", [frozenset(), frozenset({1, 4, 5})])
def test_a_large_piece_is_shared_out_to_workers(tmp_path, small, monkeypatch, done) -> None:
    monkeypatch.setattr(sharing, "_SHARE", 2)
    path = write(tmp_path / "a.npz", pixels(40))  # one piece of seven chunks
    sources = Sources(find(str(path)), IMAGE, ["_row"])
    plan = sharing.Plan(sources, done, shared=True)
    shares = [[c.number for c in sources.chunks(piece, skip)] for piece, skip in plan]
    left = [i for i in range(7) if i not in done]
    assert shares == [left[i : i + 2] for i in range(0, len(left), 2)]
    assert (plan.rows, plan.chunks) == (40, 7)
    alone = [*sharing.Plan(sources, done, shared=False)]
    assert [[c.number for c in sources.chunks(*work)] for work in alone] == [left]
