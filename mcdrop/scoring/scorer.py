"""From pieces of the input to parts of the output: what each worker does, wherever it runs.

Knows the way of a chunk: read and encoded by one thread, asked of the network by another, laid out
in columns by the caller's. A part depends on its chunk, the model and the job alone, so that it
does not matter who makes it, when, and how often. Refuses to know where parts are kept.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import orjson
import pyarrow as pa

from mcdrop.data.preprocessing import Inputs
from mcdrop.errors import DataError
from mcdrop.predictor import Predictor, Samples
from mcdrop.scoring.ahead import ahead
from mcdrop.scoring.layout import columns, schema
from mcdrop.scoring.places import File
from mcdrop.scoring.rows import FILE, ROW, Rejected
from mcdrop.scoring.sources import Chunk, Piece, Sources
from mcdrop.scoring.tally import Tally
from mcdrop.scoring.top import highest
from mcdrop.uncertainty import Classification, Regression

__all__ = ["Job", "Part", "Scorer", "Work"]

Work = tuple[Piece, frozenset[int]]
"""A piece, and those of its chunks that are done already."""

Answered = tuple[Chunk, list[tuple[Classification | Regression, Inputs, pa.Table]]]


@dataclass(frozen=True)
class Job:
    """What is to be scored, and how; see `mcdrop.scoring.score`.

    Attributes:
        files: the input.
        keep: columns to carry through.
        samples: T, or "auto" for as many passes as each row needs.
        tolerance: of "auto".
        seed: draws the T thinned networks.
        level: of sets and intervals; None for the model's own.
        risk: of abstention; None for the model's own.
        mc_error: whether columns of Monte Carlo errors are added.
        skip: whether rows that cannot be answered for are set aside, rather than an error.
        top: how many rows to keep, the highest by ``by``; None for all.
        by: weights of columns of numbers, whose sum rows are ranked by.
        device: of the network.
    """

    files: tuple[File, ...]
    keep: tuple[str, ...]
    samples: Samples
    tolerance: float | None
    seed: int
    level: float | None
    risk: float | None
    mc_error: bool
    skip: bool
    top: int | None
    by: Mapping[str, float]
    device: str


@dataclass(frozen=True)
class Part:
    """What a chunk became.

    Attributes:
        number: of the chunk.
        rows: rows answered.
        rejected: rows set aside.
        content: the answers, an Arrow stream with the chunk's `Tally` in its metadata.
        side: the rows set aside, as JSON lines.
    """

    number: int
    rows: int
    rejected: int
    content: bytes
    side: bytes


class Scorer:
    """A model at work on a job."""

    def __init__(self, predictor: Predictor, job: Job) -> None:
        self._predictor, self._job = predictor, job
        keep = job.keep if job.top is None else tuple(dict.fromkeys((*job.keep, FILE, ROW)))
        self.sources = Sources(job.files, predictor.card.preprocessing, keep)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the output: those carried through, then the answers.

        Raises:
            DataError: a column carried through has the name of an answer, or the column that
                rows are chosen by is none of numbers.
        """
        answers = schema(self._predictor.card, mc_error=self._job.mc_error)
        kept = self.sources.fields
        both = set(kept.names) & set(answers.names)
        if both:
            raise DataError(f"column {min(both)!r} is the name of an answer: rename it to keep it")
        if self._job.top is not None:
            numbers = [f.name for f in answers if pa.types.is_floating(f.type)]
            if wrong := self._job.by.keys() - set(numbers):
                raise DataError(f"no rows can be chosen by {min(wrong)!r}: give one of {numbers}")
        return pa.schema([*kept, *answers])

    def parts(self, work: Iterable[Work]) -> Iterator[Part]:
        """Make the parts of some pieces, in order."""
        chunks = ahead(chunk for piece, skip in work for chunk in self.sources.chunks(piece, skip))
        for answered in ahead(map(self._answer, chunks)):
            yield self._part(answered)

    def _answer(self, chunk: Chunk) -> Answered:
        if chunk.rejected and not self._job.skip:
            bad = chunk.rejected[0]
            raise DataError(
                f"{bad.file}, row {bad.row} (rows count from 0): {bad.reason}; mend it, or set bad "
                "rows aside by --on-error skip"
            )
        job, evaluate = self._job, self._predictor.evaluate
        return chunk, [
            (evaluate(rows.x, job.samples, job.seed, tolerance=job.tolerance), rows, kept)
            for rows, kept in chunk.blocks
            if len(rows)
        ]

    def _part(self, answered: Answered) -> Part:
        chunk, answers = answered
        job, predictor = self._job, self._predictor
        tally = Tally()
        tables = [self.schema.empty_table()]
        for statistics, rows, kept in answers:
            answer = predictor.reference.apply(
                statistics, job.level, job.risk, unknown=rows.unknown
            )
            tally.add(answer)
            found = columns(answer, predictor.card, mc_error=job.mc_error)
            found |= dict(zip(kept.column_names, kept.columns, strict=True))
            tables.append(pa.table(found, schema=self.schema))
        table = pa.concat_tables(tables)
        if job.top is not None:
            table = highest(table, job.top, job.by)
        content = _stream(table.replace_schema_metadata({"tally": tally.to_json()}))
        side = b"".join(map(_line, chunk.rejected))
        return Part(chunk.number, tally.rows, len(chunk.rejected), content, side)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _line(rejected: Rejected) -> bytes:
    return orjson.dumps(asdict(rejected)) + b"\n"
