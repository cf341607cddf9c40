"""Killed whenever it may be, the same call goes on and ends with the same bytes."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest

import mcdrop
from mcdrop.scoring import score
from mcdrop.scoring.journal import place
from mcdrop.scoring.rows import CHUNK
from tests.scoring.once.interrupting import result, run


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
    if process.exitcode != 0:  # even where the output is there: what it was made from may be too
        assert output.exists() or manifest.read_text()
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
