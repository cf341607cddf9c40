"""Where rows come from and answers go, besides files of this machine."""

import io
import json
import sys
from types import SimpleNamespace

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from mcdrop.errors import DataError
from mcdrop.scoring import score
from mcdrop.scoring.rows import BLOCK
from mcdrop.selection import select


def test_urls_are_read_and_written(predictor, pixels, tmp_path, source, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    table = pa.table({f"p{i}": c for i, c in enumerate(pixels.T)})
    for i in range(2):
        with store.open(f"/scoring-in/{i}.parquet", "wb") as file:
            pq.write_table(table.slice(i * BLOCK, BLOCK), file)
    summary = score(
        predictor, "memory://scoring-in", "memory://scoring-out/s.parquet", samples=2,
        keep=["_file", "_row"],
    )  # fmt: skip
    assert summary.rows == 2 * BLOCK
    with store.open("/scoring-out/s.parquet", "rb") as file:
        found = pq.read_table(file)
    assert found["_file"].to_pylist()[:: BLOCK - 1] == [
        *["memory:///scoring-in/0.parquet"] * 2, "memory:///scoring-in/1.parquet",
    ]  # fmt: skip
    assert found["_row"].to_pylist() == [*range(BLOCK)] * 2
    score(predictor, source, tmp_path / "s.parquet", samples=2)
    local = pq.read_table(tmp_path / "s.parquet").slice(0, 2 * BLOCK)
    assert found.drop_columns(["_file", "_row"]).equals(local)
    score(predictor, "memory://scoring-in/*.parquet", "memory://scoring-out/many/", samples=2)
    assert store.exists("/scoring-out/many/_manifest.json")


def test_a_store_whose_package_is_absent_is_named(predictor, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(DataError, match=r"s3://bucket/x.csv needs another package: .*s3fs"):
        score(predictor, "s3://bucket/x.csv", tmp_path / "s.csv", samples=1)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "npz", "npy", "arrow"])
def test_standard_input_is_read_whatever_its_format(
    predictor, tmp_path, pixels, monkeypatch, kind
) -> None:
    table = pa.table({f"p{i}": c for i, c in enumerate(pixels[:50].T)})
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        pa_csv.write_csv(table, path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif kind == "parquet":
        pq.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        (np.save if kind == "npy" else np.savez)(
            path, **{"arr" if kind == "npy" else "x": pixels[:50]}
        )
    score(predictor, path, tmp_path / "a.csv", samples=2)
    stream = SimpleNamespace(buffer=io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    score(predictor, "-", tmp_path / "b.csv", samples=2)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("give", ["rows.csv", "deep/../rows.csv", "link.csv"])
def test_what_is_read_is_never_written_over(predictor, pixels, tmp_path, give) -> None:
    place = tmp_path / "rows.csv"
    pa_csv.write_csv(pa.table({f"p{i}": c for i, c in enumerate(pixels[:5].T)}), place)
    (tmp_path / "deep").mkdir()
    (tmp_path / "link.csv").symlink_to(place)
    before = place.read_bytes()
    with pytest.raises(DataError, match=r"would take the place of .*rows\.csv, which is read"):
        score(predictor, place, tmp_path / give, samples=2)
    with pytest.raises(DataError, match="would take the place of"):
        select(predictor, place, tmp_path / give, k=1)
    assert place.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "link.csv", "rows.csv"]


def test_a_folder_that_is_read_is_never_written_over(predictor, source, tmp_path) -> None:
    score(predictor, source, tmp_path / "out", samples=2, keep=["*"])
    with pytest.raises(DataError, match=r"out would take the place of .*part-00000"):
        score(predictor, f"{tmp_path}/out/*.parquet", tmp_path / "out", samples=2)


def test_a_url_that_is_read_is_never_written_over(predictor, pixels, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with fsspec.filesystem("memory").open("/over/rows.parquet", "wb") as file:
        pq.write_table(pa.table({f"p{i}": c for i, c in enumerate(pixels[:5].T)}), file)
    for give in ("memory://over/rows.parquet", "memory:///over/rows.parquet"):
        with pytest.raises(DataError, match="would take the place of"):
            score(predictor, "memory://over/rows.parquet", give, samples=2)
