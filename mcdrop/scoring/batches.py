"""Parquet and Arrow files: row groups and record batches, streamed.

Knows which runs of a file can be read alone, from the middle too. Not through Arrow's dataset
reader, which unpacks a row group as a whole (487 MiB for one of 190 MiB, where its Parquet reader,
which streams within it, took 59), and cannot say where in a file a row lies.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mcdrop.data.files import recut
from mcdrop.data.preprocessing import Preprocessing
from mcdrop.scoring.lines import Run
from mcdrop.scoring.places import File, is_url, open_file
from mcdrop.scoring.rows import CHUNK, Raw, carried
from mcdrop.scoring.select import Selection, select

__all__ = ["ArrowSource", "ParquetSource"]


class _Batches:
    """One file of record batches; arguments as of any source."""

    schema: pa.Schema

    def __init__(self, file: File, preprocessing: Preprocessing, keep: Sequence[str]) -> None:
        self.file, self.preprocessing, self.keep = file, preprocessing, keep

    @cached_property
    def selection(self) -> Selection:
        """Which columns are read."""
        return select(self.schema, self.preprocessing, self.keep)

    @property
    def fields(self) -> pa.Schema:
        """The columns carried through, of the file's types."""
        return pa.schema([self.schema.field(name) for name in self.selection.kept])

    def _raws(self, batches: Iterator[pa.RecordBatch], first: int) -> Iterator[Raw]:
        for table in recut(batches, CHUNK):
            kept = table.select(list(self.selection.kept))
            places = np.arange(first, first + len(table))
            yield Raw(table, self.selection.inspect, carried(kept, places, self.file.name))
            first += len(table)


class ParquetSource(_Batches):
    """A Parquet file; its pieces are row groups, as many as make a chunk."""

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        with self._opened() as file:
            return file.metadata

    @cached_property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        return self._metadata.schema.to_arrow_schema()

    def pieces(self) -> Iterator[Run]:
        """Runs of row groups."""
        groups = range(self._metadata.num_row_groups)
        return _gather(self._metadata.row_group(i).num_rows for i in groups)

    def read(self, run: Run, first: int) -> Iterator[Raw]:
        """The rows of some row groups, numbered from ``first`` on."""
        groups = range(run.start, run.stop)
        with self._opened(self._metadata) as file:
            batches = file.iter_batches(
                CHUNK,
                groups,
                columns=self.selection.names,
                use_threads=torch.get_num_threads() > 1,  # where answering has one, so has reading
            )
            yield from self._raws(batches, first)

    @contextmanager
    def _opened(self, metadata: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
        with (
            open_file(self.file.path) as raw,
            pq.ParquetFile(raw, metadata=metadata, pre_buffer=False, buffer_size=1 << 20) as file,
        ):
            yield file


class ArrowSource(_Batches):
    """An Arrow (Feather) file, or a stream in a file; its pieces are record batches."""

    @cached_property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        with self._opened() as file:
            return file.schema

    def pieces(self) -> Iterator[Run]:
        """Runs of record batches; counting them reads one column."""
        with self._opened(pa.ipc.IpcReadOptions(included_fields=[0])) as file:
            yield from _gather(batch.num_rows for batch in _batches(file))

    def read(self, run: Run, first: int) -> Iterator[Raw]:
        """The rows of some record batches, numbered from ``first`` on."""
        names = self.selection.names
        fields = sorted(self.schema.get_field_index(name) for name in names)
        with self._opened(pa.ipc.IpcReadOptions(included_fields=fields)) as file:
            batches = _batches(file, run.start, run.stop)
            yield from self._raws((batch.select(names) for batch in batches), first)

    @contextmanager
    def _opened(self, options: Any = None) -> Iterator[Any]:
        with open_file(self.file.path) as raw:
            # Mapped, so that a batch larger than memory can be gone through by parts.
            source = raw if is_url(self.file.path) else pa.memory_map(self.file.path)
            mark = source.read(6)
            source.seek(0)
            open_it = pa.ipc.open_file if mark == b"ARROW1" else pa.ipc.open_stream
            yield open_it(source, options=options)


def _batches(file: Any, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
    if isinstance(file, pa.RecordBatchFileReader):
        for i in range(start, file.num_record_batches if stop is None else stop):
            yield file.get_batch(i)
        return
    for i, batch in enumerate(file):
        if i >= start and (stop is None or i < stop):
            yield batch


def _gather(counts: Iterable[int]) -> Iterator[Run]:
    """Neighbors joined until they make a chunk."""
    start = rows = -1
    for i, count in enumerate(counts):
        start, rows = (i, count) if rows < 0 else (start, rows + count)
        if rows >= CHUNK:
            yield Run(start, i + 1, rows)
            rows = -1
    if rows > 0:
        yield Run(start, i + 1, rows)
