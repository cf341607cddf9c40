"""A whole scoring: from where rows lie to where answers are wanted, exactly once.

Knows the order of things: plan, make what is not made, commit, put together, publish. Refuses to
know formats, and where parts are made.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pyarrow as pa
import torch

from mcdrop.errors import DataError, InputError
from mcdrop.predictor import Predictor, Samples
from mcdrop.recipe import SAMPLES_LIMIT
from mcdrop.scoring import journal as journals
from mcdrop.scoring.assembly import Assembly
from mcdrop.scoring.journal import Journal
from mcdrop.scoring.places import File, check_apart, find, spool
from mcdrop.scoring.scorer import Job, Scorer
from mcdrop.scoring.sharing import Plan, made
from mcdrop.scoring.summary import Summary, summarize
from mcdrop.scoring.top import ranking
from mcdrop.scoring.writing import Format, Output, check_output

__all__ = ["score"]

Progress = Callable[[int, int | None], None]


def score(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    *,
    samples: Samples = None,
    tolerance: float | None = None,
    seed: int = 0,
    level: float | None = None,
    risk: float | None = None,
    keep: Sequence[str] = (),
    mc_error: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    top: int | None = None,
    by: str | None = None,
    format: Format | None = None,  # noqa: A002 - what it is called everywhere
    workers: int = 1,
    on: Literal["here", "ray"] = "here",
    progress: Progress = lambda _done, _total: None,
) -> Summary:
    """Answer for every row of ``source`` and write the answers to ``output``, in the same order.

    In memory that does not grow with the rows. Killed at any moment, the same call goes on from
    the chunks that were committed, and its output has the same bytes; see `mcdrop.scoring.journal`.
    The bits of an answer depend on the model, T, the seed, the row, and the chunk of its file that
    it lies in; not on how many workers there are and where they run.

    Args:
        predictor: the model, from `mcdrop.load`; it runs where its network is.
        source: a file, folder, glob or URL of CSV, Parquet, Arrow, JSON lines, NPY, NPZ (``x``) or
            pictures; or "-" for standard input.
        output: a file or URL ending in .parquet, .csv, .jsonl or .arrow; or a folder. Its columns
            are those of `mcdrop.scoring.columns`.
        samples: T; None takes the model's own number; "auto": as many passes as each row needs.
        tolerance: of "auto"; see `mcdrop.Predictor.predict`.
        seed: draws the T thinned networks.
        level: probability with which sets and intervals hold the truth; None: the model's.
        risk: error rate among rows that are not abstained from; None: the model's.
        keep: columns of the source to carry through; "*" for all; "_file" and "_row" say where a
            row came from.
        mc_error: whether to add Monte Carlo standard errors.
        on_error: "skip" writes rows that cannot be answered for, with their reasons, to
            ``<output>.rejected.jsonl``; "stop" raises.
        top: write only so many rows, the highest by ``by``, highest first.
        by: a column of answers, for ``top`` to go by; None: "epistemic", of several targets its
            mean in units of their variances.
        format: of the files of a folder; None: Parquet.
        workers: processes of this machine, or actors of the Ray cluster.
        on: "here", or "ray".
        progress: called with (rows done, rows in all or None while they are not counted yet).

    Raises:
        InputError: an argument is out of bounds, or the source cannot be read or does not fit the
            model.
        DataError: the output cannot be written, or an unfinished other scoring is in its place.
    """
    began = time.perf_counter()
    target = str(output)
    kind, many = check_output(target, format)
    _check(samples, seed, top, by, workers, on_error, on)
    card, own = predictor.card, predictor.reference.recipe
    classes = card.task == "classification"
    job = Job(
        files=(),
        keep=tuple(keep),
        samples=card.samples if samples is None else samples,
        tolerance=tolerance,
        seed=seed,
        level=own.level if level is None else level,
        risk=own.risk if risk is None and classes else risk,
        mc_error=mc_error,
        skip=on_error == "skip",
        top=top,
        by=ranking(by, card),
        device=str(next(predictor.network.parameters()).device),
    )
    with Journal(journals.place(target)) as journal, _writing(target, journal):
        job = replace(job, files=tuple(_files(str(source), journal.folder)))
        check_apart(job.files, target)
        scorer = Scorer(predictor, job)
        about = _about(predictor, job)
        schema = scorer.schema.with_metadata(about)
        journal.begin(about | _identity(predictor, job) | {"format": kind})
        shared = workers > 1 or on == "ray"
        plan = Plan(scorer.sources, frozenset(journal.records), shared=shared)
        resumed = journal.rows
        assembly = Assembly(
            journal, Output(journal.folder / "output", schema, kind, many=many), job
        )
        progress(resumed, None)
        with closing(made(scorer, plan, job, predictor, journal.folder, workers, on)) as records:
            for record in records:
                journal.commit(record)
                assembly.advance()
                progress(journal.rows, plan.rows)
        side = f"{target.rstrip('/').removesuffix(Path(target).suffix)}.rejected.jsonl"
        assembly.complete(plan.chunks, target, side)
        journal.finish()
    return summarize(
        assembly.tally,
        predictor.reference,
        classes=classes,
        alike=(job.samples, seed) == (card.samples, card.recipe.seed),
        output=target,
        rejected=assembly.rejected,
        side=side if assembly.rejected else None,
        written=assembly.written,
        resumed=resumed,
        seconds=time.perf_counter() - began,
    )


def _files(source: str, folder: Path) -> list[File]:
    return [spool(sys.stdin.buffer, folder / "stdin")] if source == "-" else find(source)


def _about(predictor: Predictor, job: Job) -> dict[str, str]:
    """What an output says of itself."""
    card = predictor.card
    about = {
        "model": card.name,
        "version": str(card.version),
        "weights_sha256": card.weights_sha256,
        "samples": str(job.samples) + ("" if job.tolerance is None else f" {job.tolerance:g}"),
        "seed": str(job.seed),
        "level": str(job.level),
    } | ({} if job.risk is None else {"risk": str(job.risk)})
    return {f"mcdrop.{name}": value for name, value in about.items()}


def _identity(predictor: Predictor, job: Job) -> dict[str, str]:
    """What else the bytes of an output depend on."""
    card = hashlib.sha256(predictor.card.model_dump_json().encode()).hexdigest()
    own = f"mcdrop {version('mcdrop')}, torch {torch.__version__}, pyarrow {pa.__version__}"
    return {
        "the model's card": card,
        "the columns kept": " ".join(job.keep),
        "Monte Carlo errors": str(job.mc_error),
        "the rows chosen": "all" if job.top is None else f"{job.top} by {', '.join(job.by)}",
        "the device": job.device,
        "the libraries": own,
    } | {f"the input {file.name}": file.stamp for file in job.files}


def _check(
    samples: Samples,
    seed: int,
    top: int | None,
    by: str | None,
    workers: int,
    on_error: str,
    on: str,
) -> None:
    if isinstance(samples, int) and not 1 <= samples <= SAMPLES_LIMIT:
        raise InputError(f"samples is {samples}: give 1 to {SAMPLES_LIMIT} passes")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}: give 0 to 2**63 - 1")
    if by is not None and top is None:
        raise InputError(f"by {by!r} chooses rows only with top: say how many, or leave it out")
    for name, value in (("workers", workers), ("top", top)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")
    for name, word, known in (
        ("on_error", on_error, ("stop", "skip")),
        ("on", on, ("here", "ray")),
    ):
        if word not in known:
            raise InputError(f"{name} is {word!r}: give one of {known}")


@contextmanager
def _writing(target: str, journal: Journal) -> Iterator[None]:
    """Say what to do where the disk does not take what is written."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise DataError(
            f"{target} cannot be written ({reason}, in {journal.folder}): {journal.rows} rows are "
            "kept there; make room, and the same command goes on from them"
        ) from error
