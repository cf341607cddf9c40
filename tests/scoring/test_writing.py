"""Outputs: files and folders of them, and what they take the place of."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcdrop.errors import DataError, InputError
from mcdrop.scoring import score
from mcdrop.scoring.rows import CHUNK
from tests.scoring.outputs import ROWS, names, read


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_the_output_says_where_its_rows_came_from(predictor, source, suffix) -> None:
    output = source.with_suffix(suffix)
    score(predictor, source, output, samples=3, seed=9, level=0.8)
    assert {k.decode(): v.decode() for k, v in read(output).schema.metadata.items()} == {
        "mcdrop.model": predictor.card.name,
        "mcdrop.version": "1",
        "mcdrop.weights_sha256": predictor.card.weights_sha256,
        "mcdrop.samples": "3",
        "mcdrop.seed": "9",
        "mcdrop.level": "0.8",
        "mcdrop.risk": "0.05",
    }


def test_many_chunks_make_few_row_groups(predictor, tmp_path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((10 * CHUNK, 64), np.uint8))
    score(predictor, tmp_path / "rows.npy", tmp_path / "s.parquet", samples=1)
    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert file.metadata.num_rows == 10 * CHUNK
    assert file.num_row_groups == 2


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_folder_of_files_says_what_is_in_it(predictor, source, monkeypatch, kind) -> None:
    monkeypatch.setattr("mcdrop.scoring.writing._GROUP", CHUNK)
    monkeypatch.setattr("mcdrop.scoring.writing._FILE", CHUNK)
    output = source.with_name("scores")
    for _ in range(2):  # the second replaces the first
        score(predictor, source, output, samples=2, format=kind)
        about = json.loads((output / "_manifest.json").read_text())
        files = [f"part-0000{i}.{kind}" for i in range(3)]
        assert [(f["name"], f["rows"]) for f in about["files"]] == [
            *zip(files, [CHUNK, CHUNK, 300], strict=True)
        ]
        assert names(output) == ["_manifest.json", *files]
    assert about["mcdrop.seed"] == "0"
    score(predictor, source, source.with_name(f"one.{kind}"), samples=2)
    whole = read(source.with_name(f"one.{kind}"))
    assert pa.concat_tables([read(output / name) for name in files]).equals(whole)
    (output / "_manifest.json").unlink()
    with pytest.raises(DataError, match="holds other files"):
        score(predictor, source, output, samples=2)


def test_an_older_output_is_replaced_only_by_a_complete_one(predictor, source) -> None:
    output = source.with_suffix(".parquet")
    output.write_text("older")
    with pytest.raises(InputError):
        score(predictor, source, output, samples=0)
    assert output.read_text() == "older"
    score(predictor, source, output, samples=2)
    assert pq.read_metadata(output).num_rows == ROWS
    assert sorted(source.parent.iterdir()) == sorted([source, output])


@pytest.mark.parametrize("name", ["s.txt", "none/s.csv", "folder.csv", "none/folder", "rows.npy/"])
def test_an_unusable_output_is_refused_before_any_work(predictor, source, name) -> None:
    (source.parent / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot be written|can be written|other files"):
        score(predictor, source, f"{source.parent}/{name}")
    assert names(source.parent) == ["folder.csv", "rows.npy"]


def test_standard_output_is_no_folder(predictor, source) -> None:
    with pytest.raises(DataError, match="standard output cannot be written"):
        score(predictor, source, "-")
