"""Rows that come as an Arrow IPC stream, uncompressed.

Knows Arrow's columns and the one thing of its metadata that has to be known before it is read:
whether buffers are compressed, which may hide any number of bytes. Refuses to know models.
"""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop_service.ask import Body, RefusedError

__all__ = ["read_arrow"]

_DICTIONARY, _RECORDS = 2, 3  # kinds of messages, of the format's Message.fbs


def read_arrow(body: Body, most: int) -> NDArray[Any] | pa.Table:
    """A stream's rows: a table; one column of lists as an array (B, D).

    Raises:
        RefusedError: no Arrow stream, or one of too many rows, or compressed.
    """
    try:
        for message in pa.ipc.MessageReader.open_stream(body.content):
            if _compressed(message):
                raise RefusedError(415, "got compressed Arrow buffers, wanted plain ones, or gzip")
        table = pa.ipc.open_stream(body.content).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, struct.error, ValueError) as error:
        raise RefusedError(422, f"the body is no Arrow IPC stream: {str(error)[:200]}") from None
    if not 1 <= len(table) <= most:
        raise RefusedError(422, f"got {len(table)} rows, wanted 1 to {most:,}")
    if table.num_columns == 1 and pa.types.is_fixed_size_list(table.schema.field(0).type):
        return _array(table.column(0).combine_chunks())
    return table


def _array(column: Any) -> NDArray[Any]:
    values = column.flatten()
    kind = values.type
    if (
        column.null_count
        or values.null_count
        or not (pa.types.is_floating(kind) or pa.types.is_integer(kind))
    ):
        raise RefusedError(422, f"got a column of {column.type} or nulls, wanted lists of numbers")
    return np.asarray(values).reshape(len(column), -1)  # (B, D)


def _compressed(message: Any) -> bool:
    """Whether the buffers of a message are: field 3 of its RecordBatch, in FlatBuffers' layout."""
    data = memoryview(message.metadata)
    root = struct.unpack_from("<I", data)[0]
    kind = _field(data, root, 1)
    header = _field(data, root, 2)
    if kind is None or header is None or data[kind] not in (_DICTIONARY, _RECORDS):
        return False
    batch = _follow(data, header)
    if data[kind] == _DICTIONARY:
        inner = _field(data, batch, 1)
        if inner is None:
            return False
        batch = _follow(data, inner)
    return _field(data, batch, 3) is not None


def _follow(data: memoryview, place: int) -> int:
    offset: int = struct.unpack_from("<I", data, place)[0]
    return place + offset


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Where field ``number`` of the table at ``table`` is; None if it is not there."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, vtable)[0]
    entry = 4 + 2 * number
    offset = struct.unpack_from("<H", data, vtable + entry)[0] if entry < size else 0
    return table + offset if offset else None
