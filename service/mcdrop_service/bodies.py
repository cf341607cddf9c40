"""Bodies of requests: from bytes of a known type to rows and options.

JSON is read fast where it is what it nearly always is, an object with rows of numbers, and
otherwise by `PredictRequest`, which also says what is wrong; both take and refuse the same. Binary
forms have their options in the query string. Refuses to know models and HTTP's wire.
"""

import io
import math
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ValidationError

from mcdrop_service.arrow import read_arrow
from mcdrop_service.ask import JSON, Ask, Body, Images, RefusedError, Rows
from mcdrop_service.faults import invalid_request
from mcdrop_service.limits import ROWS
from mcdrop_service.request import ROW_FORMS, Options, PredictRequest

__all__ = ["KINDS", "inflate", "read", "too_large"]

_NONE = [None] * (len(ROW_FORMS) - 1)
_AXES = range(2, 5)  # of rows that are flat, or pictures in gray or in color


def read(ask: Ask, most: int = ROWS) -> Ask:
    """The ask with its body's rows, ``most`` of them at most, and the options that came with them.

    Raises:
        RefusedError: the body cannot be read; 400, 413, 415 or 422.
    """
    body = ask.rows
    if not isinstance(body, Body):
        return ask
    if body.gzip:
        body = body._replace(content=inflate(body.content, body.most))
    if body.kind == JSON:
        if body.query:
            raise RefusedError(422, "got options in the query, wanted them in the JSON body")
        return _json(ask, body.content, most)
    options = _options(body.query)
    return ask.with_(rows=KINDS[body.kind](body, most), **options)


def too_large(most: int) -> RefusedError:
    """The body has more than ``most`` bytes."""
    return RefusedError(
        413,
        f"the body has more than {most / 2**20:.3g} MiB: send fewer rows at a time, or score a "
        "file of rows with `mcdrop score`",
    )


def inflate(content: bytes, most: int) -> bytes:
    """Undo gzip, as far as a body may be long.

    Raises:
        RefusedError: 400 where it is no gzip, 413 where it would be too long.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        inflated = inflater.decompress(content, most + 1)
    except zlib.error:
        raise RefusedError(400, "the body is not gzip, which its content encoding says") from None
    if len(inflated) > most:
        raise too_large(most)
    if not inflater.eof:
        raise RefusedError(400, "the body is not gzip: it is cut short")
    return inflated


def _json(ask: Ask, content: bytes, most: int) -> Ask:
    fast = _fast(content, most)
    if fast is not None:
        rows, options = fast
        return ask.with_(rows=rows, **options)
    try:
        request = PredictRequest.model_validate_json(content, context={"rows": most})
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise invalid_request(faults) from None
    return ask.with_(rows=_rows(request), **request.chosen)


def _fast(content: bytes, most: int) -> tuple[Rows, dict[str, Any]] | None:
    """Rows of numbers and options; None where a closer look is needed."""
    try:
        values = orjson.loads(content)  # without NaN and infinity, which it refuses
        if type(values) is not dict:
            return None
        inputs, *others = [values.pop(name, None) for name in ROW_FORMS]
        if others != _NONE or type(inputs) is not list or not 1 <= len(inputs) <= most:
            return None
        rows = _numbers(inputs)
        options = _chosen(orjson.dumps(values))
    except (ValueError, OverflowError, TypeError, RecursionError, struct.error):
        return None
    # Truth values among numbers have been taken for numbers.
    if rows is None or _says(content, b"true") or _says(content, b"false"):
        return None
    return rows, options


def _numbers(inputs: list[Any]) -> NDArray[np.float64] | None:
    """Rows (B, D) or (B, ...) of numbers; None, or an error, where they are none."""
    first = inputs[0]
    if type(first) is list and first and type(first[0]) is not list:
        pack = _packer(len(first))  # four times as fast as NumPy
        return np.frombuffer(b"".join([pack(*row) for row in inputs])).reshape(len(inputs), -1)
    rows = np.array(inputs)
    return rows.astype(np.float64) if rows.dtype.kind in "fi" and rows.ndim in _AXES[1:] else None


@lru_cache(64)
def _packer(numbers: int) -> Callable[..., bytes]:
    return struct.Struct(f"{numbers}d").pack


def _says(content: bytes, word: bytes) -> bool:
    """Whether a word is there, sought by a letter that numbers lack and names seldom have."""
    at, letter = -1, word[2]
    for _ in range(8):
        at = content.find(letter, at + 1)
        if at < 0 or content.startswith(word, at - 2):
            return at >= 0
    return word in content


@lru_cache(256)
def _chosen(options: bytes) -> dict[str, Any]:
    """Options as JSON, checked; callers repeat themselves, so that few have to be."""
    return Options.model_validate_json(options).chosen


def _rows(request: PredictRequest) -> Rows:
    if request.records is not None:
        return request.records
    if request.images is not None:
        return Images(request.images)
    try:
        return np.array(request.inputs, np.float64)
    except ValueError:
        text = "got rows of unequal lengths, wanted one length for all rows"
        raise RefusedError(422, text) from None


@lru_cache(256)
def _options(query: str) -> dict[str, Any]:
    """Options from a query string: ``samples=100&seed=1&fields=prediction,confidence``."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32)
        return Options.model_validate({name: _value(name, text) for name, text in pairs}).chosen
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise invalid_request(faults) from None
    except ValueError:
        raise RefusedError(422, "the query has too many parts") from None


def _value(name: str, text: str) -> Any:
    """What JSON would hold."""
    if name == "fields":
        return text.split(",")
    try:
        return text if name == "model" else orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _bare(body: Body, most: int) -> NDArray[Any]:
    """Little-endian float32, one row after the other, in the shape of ``x-shape``."""
    if len(body.content) % 4 or not body.content:
        raise RefusedError(422, f"got {len(body.content)} bytes, wanted float32: 4 bytes a number")
    values = np.frombuffer(body.content, "<f4")
    if not body.shape:
        return values[None]
    sizes = body.shape.split(",")
    if len(sizes) > _AXES[-1] or not all(s.strip().isdecimal() and len(s) < 10 for s in sizes):
        raise RefusedError(422, f"x-shape: got {body.shape[:80]!r}, wanted sizes such as 3,784")
    shape = [int(size) for size in sizes]
    if math.prod(shape) != len(values):
        raise RefusedError(
            422, f"x-shape: got {len(values)} numbers, wanted {math.prod(shape)} of shape {shape}"
        )
    return _bounded(values.reshape(shape), most)


def _npy(body: Body, most: int) -> NDArray[Any]:
    """A file of `numpy.save`; objects, which would be pickled, are refused."""
    stream = io.BytesIO(body.content)
    try:
        version = np.lib.format.read_magic(stream)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = header(stream, max_header_size=1000)
    except Exception:  # the header is read as Python's own literals are, and fails as they do
        raise RefusedError(422, "the body is no .npy file of numbers") from None
    content = memoryview(body.content)[stream.tell() :]
    if dtype.kind not in "fiu" or math.prod(shape) * dtype.itemsize != len(content):
        text = f"got a .npy file of {dtype} and shape {shape}, wanted numbers, and all of them"
        raise RefusedError(422, text[:300])
    values = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    return _bounded(values, most)


def _bounded(values: NDArray[Any], most: int) -> NDArray[Any]:
    if values.ndim not in _AXES:
        raise RefusedError(
            422, f"got shape {values.shape}, wanted (rows, ...), {_AXES[-1]} axes at most"
        )
    if not 1 <= len(values) <= most:
        raise RefusedError(
            422,
            f"got {len(values):,} rows, wanted 1 to {most:,}: ask in several requests, or score a "
            "file of rows with `mcdrop score`",
        )
    return values


KINDS: dict[str, Callable[[Body, int], Rows]] = {
    "application/octet-stream": _bare,
    "application/x-npy": _npy,
    "application/vnd.apache.arrow.stream": read_arrow,
}
"""Types of binary bodies, and who reads them: so many rows at most."""
