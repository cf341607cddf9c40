"""Arrays inside NPZ files, streamed out of the archive block by block.

Knows zip members and NumPy's array header. Refuses to know what the arrays mean, and to unpickle.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mcdrop.errors import DataError

__all__ = ["Array", "Member", "open_member", "read_header"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Member:
    """One array of an open archive: its header, and the stream its values follow in."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_major: bool
    stream: IO[bytes]

    def blocks(self, rows: int) -> Iterator[Array]:
        """The array (N, ...) in blocks of ``rows`` rows, the last one shorter. Once only.

        Raises:
            DataError: the archive holds fewer or more values than the header says.
        """
        total, *inner = self.shape
        if self.column_major:
            yield from self._spooled(rows)
            return
        width = self.dtype.itemsize * int(np.prod(inner))
        for start in range(0, total, rows):
            n = min(rows, total - start)
            content = self.stream.read(n * width)
            if len(content) < n * width:
                raise DataError(
                    f"the array ends before row {start + n} of {total}: it is truncated"
                )
            yield np.frombuffer(content, self.dtype).reshape(n, *inner)
        if self.stream.read(1):  # reading to the end also checks the archive's checksum
            raise DataError(f"the array goes on after its {total} rows: its header is wrong")

    def _spooled(self, rows: int) -> Iterator[Array]:
        # Rows of a column-major array lie scattered over all of it: unpack to disk, then map.
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(self.stream, spool)
            size = self.dtype.itemsize * int(np.prod(self.shape))
            if spool.tell() != size:
                raise DataError(f"the array has {spool.tell()} bytes, wanted {size}")
            spool.flush()
            values = np.memmap(spool, self.dtype, mode="r", shape=self.shape, order="F")
            for start in range(0, self.shape[0], rows):
                yield np.ascontiguousarray(values[start : start + rows])


@contextmanager
def open_member(path: Path | IO[bytes], key: str) -> Iterator[Member]:
    """Open the array ``key`` of the NPZ file ``path``.

    Raises:
        DataError: there is no such array, or it cannot be read without unpickling.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if key not in names:
            there = ", ".join(map(repr, names)) or "none"
            raise DataError(
                f"no array {key!r} (it has {there}): save it by np.savez(file, {key}=...)"
            )
        with archive.open(f"{key}.npy") as stream:
            shape, column_major, dtype = read_header(stream, key)
            yield Member(shape, dtype, column_major and len(shape) > 1 and all(shape), stream)


def read_header(stream: IO[bytes], key: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is column-major, and type of the array that follows in an NPY stream.

    Raises:
        DataError: it is a single value, or cannot be read without unpickling.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise DataError(f"the array is of NPY version {version}, wanted 1.0 or 2.0")
    shape, column_major, dtype = readers[version](stream)
    if dtype.hasobject or dtype.names:
        raise DataError(
            f"{key} holds {dtype}, wanted plain numbers: convert it with {key}.astype(np.float32), "
            "or astype(str) where it holds texts"
        )
    if not shape:
        raise DataError(f"{key} is a single value, wanted an array of rows")
    return shape, column_major, dtype
