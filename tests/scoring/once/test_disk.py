"""Damaged parts, full disks, and outputs that find no room."""

import errno
import resource
from pathlib import Path

import pytest

import mcdrop
from mcdrop.errors import DataError
from mcdrop.scoring import score
from mcdrop.scoring.journal import place
from mcdrop.scoring.rows import CHUNK
from tests.scoring.once.interrupting import CHUNKS, result, run, stopped


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
