"""Every source of rows behind one door, and the plan: which pieces there are, in which order.

Knows which kind of file is read by what, how pieces are numbered, and that whatever is wrong with
a file is said by the file's name. Refuses to know formats.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import pyarrow as pa

from mcdrop.data.files import reading
from mcdrop.data.preprocessing import Inputs, Preprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.arrays import NpySource, NpzSource
from mcdrop.scoring.batches import ArrowSource, ParquetSource
from mcdrop.scoring.csv_rows import CsvSource
from mcdrop.scoring.json_rows import JsonSource
from mcdrop.scoring.lines import Run
from mcdrop.scoring.pictures import PictureSource
from mcdrop.scoring.places import File
from mcdrop.scoring.rows import CHUNK, FILE, ROW, Raw, Rejected, blocks

__all__ = ["Chunk", "Piece", "Sources"]

_SOURCES: dict[str, Callable[..., Any]] = {
    **{"csv": CsvSource, "jsonl": JsonSource, "parquet": ParquetSource},
    **{"arrow": ArrowSource, "npy": NpySource, "npz": NpzSource},
}


class Source(Protocol):
    """One file of rows, or many pictures."""

    @property
    def fields(self) -> pa.Schema:
        """The columns carried through."""

    def pieces(self) -> Iterator[Run]:
        """What of it can be read alone."""

    def read(self, run: Run, first: int) -> Iterator[Raw]:
        """The rows of a piece, numbered from ``first`` on."""


@dataclass(frozen=True)
class Piece:
    """Rows that can be read alone, by any worker.

    Attributes:
        source: place of their source.
        first: number of the first row in its file.
        run: what the source calls them.
        chunk: number of their first chunk among all chunks.
    """

    source: int
    first: int
    run: Run
    chunk: int

    @property
    def chunks(self) -> range:
        """The chunks they make, of which the last is shorter."""
        return range(self.chunk, self.chunk - (-self.run.rows // CHUNK))


@dataclass(frozen=True)
class Chunk:
    """Rows to be committed together.

    Attributes:
        number: among all chunks.
        blocks: rows and the columns carried through, block by block.
        rejected: rows that cannot be answered for.
    """

    number: int
    blocks: list[tuple[Inputs, pa.Table]]
    rejected: list[Rejected]


class Sources:
    """The files of a scoring as one sequence of rows.

    Args:
        files: all of one kind.
        preprocessing: of the model.
        keep: columns to carry through.
    """

    def __init__(
        self, files: Sequence[File], preprocessing: Preprocessing, keep: Sequence[str]
    ) -> None:
        self._files, self._preprocessing, self._keep = files, preprocessing, tuple(keep)
        self._pictures = files[0].kind == "image"
        # Footers are costly to read, and too many to be kept.
        self._source = lru_cache(maxsize=2)(self._build)

    @cached_property
    def fields(self) -> pa.Schema:
        """The columns carried through, as the first file has them, and those asked for besides."""
        with reading(self._files[0].name):
            found = self._source(0).fields.remove_metadata()
        for name, kind in ((FILE, pa.string()), (ROW, pa.int64())):
            found = found.append(pa.field(name, kind)) if name in self._keep else found
        return found

    def plan(self) -> Iterator[Piece]:
        """All pieces, in order.

        Raises:
            DataError: a file cannot be read, its columns are not the model's, or there are no rows.
        """
        chunk = 0
        for place in range(1 if self._pictures else len(self._files)):
            first = 0
            with reading(self._files[place].name):
                for run in self._source(place).pieces():
                    piece = Piece(place, first, run, chunk)
                    yield piece
                    first += run.rows
                    chunk = piece.chunks.stop
        if not chunk:
            raise DataError(f"{self._files[0].name}: holds no rows: give at least one")

    def chunks(self, piece: Piece, skip: Container[int]) -> Iterator[Chunk]:
        """The chunks of a piece, but those to skip; it is read up to the last of them."""
        last = max((number for number in piece.chunks if number not in skip), default=-1)
        number = piece.chunk
        with reading(self._files[piece.source].name):
            for raws in _chunked(self._source(piece.source).read(piece.run, piece.first)):
                if number not in skip:
                    yield self._chunk(number, raws)
                if number >= last:
                    return
                number += 1

    def _chunk(self, number: int, raws: list[Raw]) -> Chunk:
        done = [block for raw in raws for block in blocks(raw)]
        rejected = [bad for raw in raws for bad in raw.rejected]
        rejected += [bad for block in done for bad in block.rejected]
        names = self.fields.names
        return Chunk(
            number,
            [(block.inputs, block.kept.select(names).cast(self.fields)) for block in done],
            sorted(rejected, key=lambda bad: bad.row),
        )

    def _build(self, place: int) -> Source:
        if self._pictures:
            return PictureSource(self._files, self._preprocessing, self._keep)
        file = self._files[place]
        source: Source = _SOURCES[file.kind](file, self._preprocessing, self._keep)
        return source


def _chunked(raws: Iterator[Raw]) -> Iterator[list[Raw]]:
    """Blocks as they were read, as many as make a chunk."""
    held: list[Raw] = []
    for raw in raws:
        held.append(raw)
        if sum(len(one.kept) + len(one.rejected) for one in held) >= CHUNK:
            yield held
            held = []
    if held:
        yield held
