"""What is left to do, shared out: to this process, to others of this machine, or to a cluster.

Knows how much one worker takes at a time. Refuses to know what becomes of the parts.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

from mcdrop.errors import InputError
from mcdrop.predictor import Predictor
from mcdrop.scoring import journal as journals
from mcdrop.scoring.ahead import ahead
from mcdrop.scoring.journal import Record
from mcdrop.scoring.on_ray import on_ray
from mcdrop.scoring.processes import in_processes
from mcdrop.scoring.scorer import Job, Scorer, Work
from mcdrop.scoring.sources import Sources

__all__ = ["Plan", "made"]

_SHARE = 16  # chunks of a large piece for one worker: what comes before them is read in vain


class Plan:
    """The pieces that have something left to do; rows and chunks of all, once it is gone through.

    Large pieces are shared out, if there is more than one worker.

    Attributes:
        rows: rows in all; None until all files have been looked at.
        chunks: chunks so far.
    """

    def __init__(self, sources: Sources, done: frozenset[int], *, shared: bool) -> None:
        self._sources, self._done, self._shared = sources, done, shared
        self.rows: int | None = None
        self.chunks = 0

    def __iter__(self) -> Iterator[Work]:
        rows = 0
        for piece in self._sources.plan():
            rows += piece.run.rows
            self.chunks = piece.chunks.stop
            left = [number for number in piece.chunks if number not in self._done]
            share = _SHARE if self._shared else len(left) or 1
            for start in range(0, len(left), share):
                yield piece, frozenset(piece.chunks) - set(left[start : start + share])
        self.rows = rows


def made(
    scorer: Scorer,
    plan: Plan,
    job: Job,
    predictor: Predictor,
    folder: Path,
    workers: int,
    on: str,
) -> Generator[Record]:
    """Make every part that is missing, and keep it in ``folder``."""
    work = ahead(plan, 0)  # looks at all files at once, so that the rows in all are known soon
    if on == "ray":
        for part in on_ray(list(work), job, _loaded_from(predictor), workers):
            yield journals.keep(folder, part)
    elif workers > 1:
        yield from in_processes(work, job, _loaded_from(predictor), folder, workers)
    else:
        for part in scorer.parts(work):
            yield journals.keep(folder, part)


def _loaded_from(predictor: Predictor) -> Path:
    if predictor.folder is None:
        raise InputError("other processes cannot load this model: get it from mcdrop.load(path)")
    return predictor.folder
