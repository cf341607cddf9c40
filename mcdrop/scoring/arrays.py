"""NPY and NPZ files: an array of rows and, in an archive, arrays of values to carry through.

Knows that an archive is read from its beginning, so that its checksum is checked, while any run of
rows of an NPY file can be read alone. Refuses to unpickle.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mcdrop.data.files import check_shape
from mcdrop.data.npz import Array, open_member, read_header
from mcdrop.data.preprocessing import Preprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.lines import Run
from mcdrop.scoring.places import File, open_file
from mcdrop.scoring.rows import BLOCK, CHUNK, Raw, carried
from mcdrop.scoring.select import Selection, check_kept

__all__ = ["NpySource", "NpzSource"]


class _Head(NamedTuple):
    """What the header of an array says; ``offset``: where its values begin."""

    shape: tuple[int, ...]
    column_major: bool
    dtype: np.dtype[np.generic]
    offset: int


class _Array:
    """One file of an array; arguments as of any source."""

    def __init__(self, file: File, preprocessing: Preprocessing, keep: Sequence[str]) -> None:
        self.file, self.preprocessing, self.keep = file, preprocessing, keep
        self.selection = Selection((), (), preprocessing)

    def _raw(self, x: Array, kept: pa.Table, first: int) -> Raw:
        places = np.arange(first, first + len(x))
        return Raw(x, self.selection.inspect, carried(kept, places, self.file.name))


class NpySource(_Array):
    """An NPY file; its pieces are runs of rows."""

    @cached_property
    def _head(self) -> _Head:
        with open_file(self.file.path) as file:
            head = _Head(*read_header(file, "the array"), file.tell())
        if head.column_major and len(head.shape) > 1:
            raise DataError("is column-major: save it by np.save(file, np.ascontiguousarray(x))")
        return head

    @property
    def fields(self) -> pa.Schema:
        """No columns: an array has none to carry through."""
        check_kept([], self.keep)
        return pa.schema([])

    def pieces(self) -> Iterator[Run]:
        """Runs of rows, of one chunk each."""
        check_shape(self._head.shape, self.preprocessing)
        total = self._head.shape[0]
        for start in range(0, total, CHUNK):
            stop = min(start + CHUNK, total)
            yield Run(start, stop, stop - start)

    def read(self, run: Run, first: int) -> Iterator[Raw]:
        """Some rows, numbered from ``first`` on."""
        shape, _, dtype, offset = self._head
        width = dtype.itemsize * int(np.prod(shape[1:]))
        with open_file(self.file.path) as file:
            file.seek(offset + run.start * width)
            for start in range(run.start, run.stop, BLOCK):
                count = min(BLOCK, run.stop - start)
                content = file.read(count * width)
                if len(content) < count * width:
                    raise DataError(f"ends before row {start + count} of {shape[0]}: truncated")
                x = np.frombuffer(content, dtype).reshape(count, *shape[1:])
                yield self._raw(x, pa.table({}), first + start - run.start)


class NpzSource(_Array):
    """An NPZ archive with ``x``, in one piece; other arrays of a value a row can be kept."""

    @cached_property
    def _heads(self) -> dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]]:
        heads = {}
        with open_file(self.file.path) as file:
            for name in ("x", *(n for n in self.keep if not n.startswith("_"))):
                with open_member(file, name) as member:
                    heads[name] = member.shape, member.dtype
        return heads

    @property
    def fields(self) -> pa.Schema:
        """The arrays carried through."""
        (rows, *_), _ = self._heads["x"]
        found = []
        for name, (shape, dtype) in self._heads.items():
            if name == "x":
                continue
            if shape != (rows,):
                raise DataError(f"{name} has the shape {shape}, wanted one value a row: ({rows},)")
            found.append((name, pa.array(np.empty(0, dtype)).type))
        return pa.schema(found)

    def pieces(self) -> Iterator[Run]:
        """The whole array."""
        with open_file(self.file.path) as file, open_member(file, "x") as member:
            check_shape(member.shape, self.preprocessing)
        if rows := self._heads["x"][0][0]:
            yield Run(0, rows, rows)

    def read(self, run: Run, first: int) -> Iterator[Raw]:  # noqa: ARG002 - the only one
        """All rows, numbered from ``first`` on."""
        with ExitStack() as stack:
            names = ["x", *self.fields.names]
            streams = []
            for name in names:
                file = stack.enter_context(open_file(self.file.path))
                member = stack.enter_context(open_member(file, name))
                streams.append(member.blocks(BLOCK))
            for x, *others in zip(*streams, strict=True):
                kept = dict(zip(names[1:], map(pa.array, others), strict=True))
                yield self._raw(x, pa.table(kept), first)
                first += len(x)
