"""Exactly once: whatever kills a scoring, the same call goes on and ends with the same bytes."""

import errno
import io
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mcdrop
from mcdrop.errors import DataError
from mcdrop.scoring import score
from mcdrop.scoring.journal import Journal, place
from mcdrop.scoring.rows import CHUNK
from tests.models import random_pixels, save_random_classifier

CHUNKS = 6
BAD = (17, CHUNK + 3, 5 * CHUNK + 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_random_classifier(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    x = random_pixels((CHUNKS - 1) * CHUNK + 500).astype(np.float32)
    x[list(BAD), 3] = np.nan
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(path, x)
    return path


@pytest.fixture(scope="module")
def context():
    """Processes that are forked from one that has imported everything: each starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["mcdrop.scoring", "mcdrop.predictor", "tests.scoring.test_once"]
    )
    return context


def run(model: Path, source: Path, output: Path, options: dict, die: int = 0) -> None:
    """A whole scoring; with ``die``, killed before the file operation of this number."""
    if die:
        left = iter(range(die - 1, -1, -1))

        def deadly(function):
            def call(*arguments, **further):
                if next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **further)

            return call

        for name in ("replace", "write_bytes", "mkdir", "open"):
            setattr(Path, name, deadly(getattr(Path, name)))
        Journal.commit = deadly(Journal.commit)  # type: ignore[method-assign]
    score(mcdrop.load(model), source, output, on_error="skip", **options)


def result(output: Path) -> tuple[bytes, bytes]:
    whole = output if output.is_file() else output / "part-00000.parquet"
    return whole.read_bytes(), (output.parent / f"{output.stem}.rejected.jsonl").read_bytes()


def lone(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv", "scores"])
def test_killed_at_random_moments_the_bytes_are_the_same(
    model, source, tmp_path, context, name, rng
) -> None:
    options = {"samples": 60}
    (tmp_path / "whole").mkdir()
    run(model, source, tmp_path / "whole" / name, options)
    output = tmp_path / name
    manifest = place(str(output)) / "manifest.jsonl"
    kills = 0
    for _ in range(4):
        done = manifest.stat().st_size if manifest.exists() else 0
        process = context.Process(target=run, args=(model, source, output, options))
        process.start()
        while process.is_alive() and (not manifest.exists() or manifest.stat().st_size <= done):
            time.sleep(0.001)
        process.join(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        kills += 1
    assert kills >= 1  # on a fast machine the rest is done before a second one
    if not output.exists():
        assert manifest.read_text()
        run(model, source, output, options)
    assert result(output) == result(tmp_path / "whole" / name)
    assert lone(tmp_path) == sorted([name, "scores.rejected.jsonl", "whole"])


def test_killed_before_every_file_operation_the_bytes_are_the_same(
    model, source, tmp_path, context
) -> None:
    """Not at random moments, but at each of the moments at which something changes on the disk."""
    options = {"samples": 2}
    x = np.load(source, mmap_mode="r")[: CHUNK + 500]
    source = tmp_path / "rows.npy"
    np.save(source, x)
    run(model, source, tmp_path / "whole.csv", options)
    expected = result(tmp_path / "whole.csv")
    moment, died = 1, 0
    while True:
        output = tmp_path / f"{moment}.csv"
        process = context.Process(target=run, args=(model, source, output, options, moment))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        died += 1
        run(model, source, output, options)
        assert result(output) == expected
        moment += 2
    assert died >= 8
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_killed_with_its_workers_at_work_it_goes_on_with_any_number(
    model, source, tmp_path, context
) -> None:
    output = tmp_path / "scores.csv"
    process = context.Process(
        target=run, args=(model, source, output, {"samples": 200, "workers": 2})
    )
    process.start()
    manifest = place(str(output)) / "manifest.jsonl"
    while not (manifest.exists() and manifest.read_text()) and process.is_alive():
        time.sleep(0.01)
    process.kill()
    process.join()
    summary = score(mcdrop.load(model), source, output, samples=200, on_error="skip")
    assert summary.resumed > 0
    score(mcdrop.load(model), source, tmp_path / "whole.csv", samples=200, on_error="skip")
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


class Stop(Exception):
    pass


def stopped(predictor, source, output, after: int = 3, **options) -> None:
    """A scoring that ends after some chunks."""

    def progress(done: int, _total: int | None) -> None:
        if done >= after * CHUNK - len(BAD):
            raise Stop

    with pytest.raises(Stop):
        score(predictor, source, output, on_error="skip", progress=progress, **options)


@pytest.fixture
def predictor(model):
    return mcdrop.load(model)


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


def test_parts_that_were_damaged_are_made_again(predictor, source, tmp_path) -> None:
    output = tmp_path / "s.csv"
    score(predictor, source, tmp_path / "whole.csv", samples=2, on_error="skip")
    stopped(predictor, source, output, samples=2)
    folder = place(str(output))
    (folder / "chunks" / "00000001.arrow").write_bytes(b"")
    (folder / "chunks" / "00000000.rejected.jsonl").unlink()
    with (folder / "manifest.jsonl").open("a") as file:
        file.write('{"chunk": 4, "ro')  # a line that was cut off
    assert score(predictor, source, output, samples=2, on_error="skip").resumed == CHUNK
    assert result(output) == result(tmp_path / "whole.csv")


def test_two_at_once_are_refused(predictor, source, tmp_path) -> None:
    output = tmp_path / "s.csv"
    with Journal(place(str(output))), pytest.raises(DataError, match="another process"):
        score(predictor, source, output, samples=2)


def test_a_full_disk_is_told_and_what_is_done_is_kept(
    predictor, source, tmp_path, monkeypatch
) -> None:
    output = tmp_path / "s.csv"
    written = Path.write_bytes
    calls = []

    def full(path: Path, content: bytes) -> int:
        calls.append(path)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"s\.csv cannot be written \(No space .*rows are kept"):
        score(predictor, source, output, samples=2, on_error="skip")
    monkeypatch.undo()
    assert score(predictor, source, output, samples=2, on_error="skip").resumed > 0


def run_on_a_small_disk(model: Path, source: Path, output: Path, told) -> None:
    """A whole scoring where no file can be larger than a few chunks."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, resource.RLIM_INFINITY))
    with pytest.raises(DataError) as caught:
        run(model, source, output, {"samples": 2})
    told.send(str(caught.value))


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.jsonl", "s.arrow", "s"])
def test_an_output_that_finds_no_room_is_written_when_there_is(
    model, source, tmp_path, context, name
) -> None:
    ours, theirs = context.Pipe()
    output = tmp_path / name
    process = context.Process(target=run_on_a_small_disk, args=(model, source, output, theirs))
    process.start()
    assert ours.poll(120)
    said = ours.recv()
    process.join()
    assert f"{name} cannot be written (File too large" in said
    assert "the same command goes on from them" in said
    assert not output.exists()
    summary = score(mcdrop.load(model), source, output, samples=2, on_error="skip")
    assert summary.resumed > 0
    assert summary.rows + summary.rejected == (CHUNKS - 1) * CHUNK + 500


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
