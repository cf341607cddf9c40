"""Scorings that are killed or stopped on the way."""

import os
import signal
from pathlib import Path

import pytest

import mcdrop
from mcdrop.scoring import score
from mcdrop.scoring.journal import Journal
from mcdrop.scoring.rows import CHUNK

CHUNKS = 6
BAD = (17, CHUNK + 3, 5 * CHUNK + 1)


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


class Stop(Exception):
    pass


def stopped(predictor, source, output, after: int = 3, **options) -> None:
    """A scoring that ends after some chunks."""

    def progress(done: int, _total: int | None) -> None:
        if done >= after * CHUNK - len(BAD):
            raise Stop

    with pytest.raises(Stop):
        score(predictor, source, output, on_error="skip", progress=progress, **options)
