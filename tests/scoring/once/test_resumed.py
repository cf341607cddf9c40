"""What goes on from the parts that are there, and what is refused as another scoring."""

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mcdrop
from mcdrop.errors import DataError
from mcdrop.scoring import score
from mcdrop.scoring.journal import Journal, place
from mcdrop.scoring.rows import CHUNK
from tests.models import save_random_classifier
from tests.scoring.once.interrupting import BAD, CHUNKS, stopped


def test_what_is_done_is_not_done_again(predictor, source, tmp_path, monkeypatch) -> None:
    output = tmp_path / "s.csv"
    stopped(predictor, source, output, samples=2)
    asked = []
    evaluate = predictor.evaluate
    monkeypatch.setattr(
        predictor,
        "evaluate",
        lambda x, *rest, **further: asked.append(len(x)) or evaluate(x, *rest, **further),
    )
    summary = score(predictor, source, output, samples=2, on_error="skip")
    assert summary.resumed == 3 * CHUNK
    assert sum(asked) == summary.rows - 3 * CHUNK + 2  # two of the bad rows lie before
    assert summary.rows + summary.rejected == (CHUNKS - 1) * CHUNK + 500


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("s.parquet", {"keep": ["_file", "_row"]}),
        ("s.csv", {"mc_error": True}),
        ("s.jsonl", {}),
        ("s.arrow", {"samples": "auto", "tolerance": 0.2}),
        ("s", {"format": "jsonl"}),
        ("s.parquet", {"top": 30, "by": "total"}),
    ],
)
def test_every_kind_of_output_goes_on_to_the_same_bytes(
    predictor, source, tmp_path, name, options
) -> None:
    options = {"samples": 2} | options
    stopped(predictor, source, tmp_path / name, **options)
    summary = score(predictor, source, tmp_path / name, on_error="skip", **options)
    assert summary.resumed == 3 * CHUNK
    (tmp_path / "whole").mkdir()
    score(predictor, source, tmp_path / "whole" / name, on_error="skip", **options)
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*")]
    assert files
    for file in files:
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, r"mcdrop.seed is 1, was 0"),
        ({"samples": 3}, r"mcdrop.samples is 3, was 2"),
        ({"level": 0.5}, r"mcdrop.level is 0.5, was 0.9"),
        ({"keep": ["_row"]}, r"the columns kept is _row"),
        ({"mc_error": True}, r"Monte Carlo errors is True, was False"),
        ({"top": 5}, r"the rows chosen is 5 by epistemic, was all"),
    ],
)
def test_another_scoring_is_refused_and_not_mixed_in(
    predictor, source, tmp_path, change, says
) -> None:
    output = tmp_path / "s.csv"
    stopped(predictor, source, output, samples=2)
    with pytest.raises(DataError, match=says) as caught:
        score(predictor, source, output, on_error="skip", **({"samples": 2} | change))
    assert str(place(str(output))) in str(caught.value)
    assert score(predictor, source, output, samples=2, on_error="skip").resumed == 3 * CHUNK


def test_another_model_or_input_is_refused(predictor, source, tmp_path) -> None:
    rows = tmp_path / "rows.npy"
    rows.write_bytes(source.read_bytes())
    output = tmp_path / "s.csv"
    stopped(predictor, rows, output, samples=2)
    other = mcdrop.load(save_random_classifier(tmp_path / "others", seed=5))
    with pytest.raises(DataError, match=r"mcdrop.weights_sha256 is"):
        score(other, rows, output, samples=2, on_error="skip")
    os.utime(rows, ns=(1, 1))
    with pytest.raises(DataError, match=r"the input .*rows.npy is .*changed 1, was"):
        score(predictor, rows, output, samples=2, on_error="skip")


def test_standard_input_goes_on_if_it_is_the_same(predictor, source, tmp_path, monkeypatch) -> None:
    output = tmp_path / "s.csv"

    def pipe(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    pipe(source.read_bytes())
    stopped(predictor, "-", output, samples=2)
    pipe(source.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(DataError, match="the input standard input is"):
        score(predictor, "-", output, samples=2, on_error="skip")
    pipe(source.read_bytes())
    assert score(predictor, "-", output, samples=2, on_error="skip").resumed == 3 * CHUNK


def test_two_at_once_are_refused(predictor, source, tmp_path) -> None:
    output = tmp_path / "s.csv"
    with Journal(place(str(output))), pytest.raises(DataError, match="another process"):
        score(predictor, source, output, samples=2)


def test_rows_in_are_rows_out_and_rows_set_aside(predictor, source, tmp_path) -> None:
    output = tmp_path / "s.csv"
    summary = score(predictor, source, output, samples=2, on_error="skip", keep=["_row"])
    assert summary.rejected == len(BAD)
    assert summary.side == str(tmp_path / "s.rejected.jsonl")
    lines = [json.loads(line) for line in Path(summary.side).read_text().splitlines()]
    assert [line["row"] for line in lines] == list(BAD)
    assert {line["file"] for line in lines} == {str(source)}
    assert all(line["reason"].startswith("column 3: NaN") for line in lines)
    assert len(json.loads(lines[0]["content"])) == 64
    kept = np.loadtxt(output, delimiter=",", skiprows=1, usecols=0, dtype=np.int64)
    rows = (CHUNKS - 1) * CHUNK + 500
    np.testing.assert_array_equal(kept, np.setdiff1d(np.arange(rows), BAD))
    assert summary.rows + summary.rejected == rows
    with pytest.raises(DataError, match=r"rows\.npy, row 17 .*column 3: NaN.*--on-error skip"):
        score(predictor, source, tmp_path / "t.csv", samples=2)
