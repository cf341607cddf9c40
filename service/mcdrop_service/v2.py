"""The Open Inference Protocol v2, its reading half: from the bytes of an infer request to an ask.

A request is a JSON object, after which the bytes of tensors may follow (the binary tensor data
extension of KServe and Triton). A tensor named ``inputs`` holds rows of numbers; tensors of other
names are the columns of a table, a value a row, NaN (in JSON, null) where it is missing. Knows the
protocol's fields. Refuses to know models: whether rows fit one is said by who answers.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic import ValidationError as Invalid

from mcdrop_service.ask import Ask, RefusedError, Rows
from mcdrop_service.limits import ROWS
from mcdrop_service.request import Options

__all__ = ["DATATYPES", "INPUTS", "InferRequest", "read_infer"]

INPUTS = "inputs"
"""Name of the tensor that holds rows of numbers."""

DATATYPES: Mapping[str, str] = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""NumPy's name of each datatype of numbers; BYTES, texts, is the one besides."""

_OPTIONS = ("samples", "seed", "level", "risk", "tolerance")
_IGNORED = ("binary_data_output", "priority", "timeout")

Parameters = dict[StrictStr, StrictBool | StrictInt | StrictFloat | StrictStr]
Size = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputTensor(_Message):
    """A tensor of a request: its numbers in ``data``, or among the bytes after the JSON."""

    name: StrictStr = Field(description="`inputs` for rows of numbers, or a column's name")
    shape: list[Size] = Field(min_length=1, max_length=8, description="rows first")
    datatype: Literal[*DATATYPES, "BYTES"]  # type: ignore[valid-type]
    parameters: Parameters = {}
    data: Annotated[list[Any], Field(fail_fast=True)] | None = None


class OutputTensor(_Message):
    """A tensor that is asked for."""

    name: StrictStr
    parameters: Parameters = {}


class InferRequest(_Message):
    """The JSON of an infer request."""

    id: StrictStr = Field("", max_length=256)
    parameters: Parameters = Field(
        {}, description="`samples`, `seed`, `level`, `risk` and `tolerance`, as in `/predict`"
    )
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=4096)]
    outputs: Annotated[list[OutputTensor], Field(max_length=64)] | None = Field(
        None, description="the tensors to answer with; all by default"
    )


def read_infer(content: bytes, header_length: str | None = None, most: int = ROWS) -> Ask:
    """The ask that an infer request means, but for its model.

    Args:
        content: the body.
        header_length: the header ``Inference-Header-Content-Length``: bytes of the JSON, where
            tensors follow it.
        most: rows it may have.

    Raises:
        RefusedError: 400, with what came and what was wanted.
    """
    head, tail = _split(content, header_length)
    try:
        request = InferRequest.model_validate(orjson.loads(head))
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from None
    except Invalid as error:
        raise RefusedError(400, _explain(error)) from None
    tensors, used = {}, 0
    for tensor in request.inputs:
        if tensor.name in tensors:
            raise RefusedError(400, f"got two inputs named {tensor.name[:80]!r}, wanted one")
        size = _binary_size(tensor)
        tensors[tensor.name] = _values(tensor, tail[used : used + size] if size else None, most)
        used += size
    if used != len(tail):
        raise RefusedError(400, f"got {len(tail)} bytes after the JSON, wanted {used}")
    extra = {"id": request.id, "outputs": _outputs(request)}
    return Ask(_rows(tensors), format="v2", extra=extra, **_options(request))


def _split(content: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return content, memoryview(b"")
    if not header_length.isdecimal() or len(header_length) > 12:
        raise RefusedError(400, "Inference-Header-Content-Length: wanted a number of bytes")
    length = int(header_length)
    if length > len(content):
        raise RefusedError(400, f"got {len(content)} bytes, wanted a JSON of {length} of them")
    return content[:length], memoryview(content)[length:]


def _binary_size(tensor: InputTensor) -> int:
    size = tensor.parameters.get("binary_data_size", 0)
    if type(size) is not int or size < 0:
        raise RefusedError(400, f"{tensor.name[:80]}: binary_data_size is no number of bytes")
    if (tensor.data is None) == (size == 0):
        came = "neither" if tensor.data is None else "both"
        text = f"{tensor.name[:80]}: got {came} of data and binary_data_size, wanted one of them"
        raise RefusedError(400, text)
    return size


def _values(tensor: InputTensor, content: memoryview | None, most: int) -> NDArray[Any]:
    """The tensor's values, in its shape."""
    if content is None:
        values = _from_json(tensor)
    elif tensor.datatype == "BYTES":
        values = np.array(_texts(content, tensor.name), dtype=object)
    else:
        dtype = np.dtype(DATATYPES[tensor.datatype])
        if len(content) % dtype.itemsize:
            raise RefusedError(400, f"{tensor.name[:80]}: got a part of a {tensor.datatype}")
        values = np.frombuffer(content, dtype)
    if math.prod(tensor.shape) != values.size:
        text = f"{tensor.name[:80]}: got {values.size} values, wanted shape {tensor.shape}"
        raise RefusedError(400, text)
    if not 1 <= tensor.shape[0] <= most:
        text = f"{tensor.name[:80]}: got {tensor.shape[0]} rows, wanted 1 to {most}"
        raise RefusedError(400, text)
    return values.reshape(tensor.shape)


def _from_json(tensor: InputTensor) -> NDArray[Any]:
    """``data``, flat or nested, as values of the tensor's datatype and nothing else."""
    wrong = RefusedError(400, f"{tensor.name[:80]}: data holds what is no {tensor.datatype}")
    try:
        values = np.array(tensor.data, dtype=object if tensor.datatype == "BYTES" else None)
        if values.dtype == object and DATATYPES.get(tensor.datatype, "")[1:2] == "f":
            values = _with_gaps(values)
    except (ValueError, OverflowError):
        raise wrong from None
    if tensor.datatype == "BYTES":
        if not all(isinstance(value, str) for value in values.flat):
            raise wrong
        return values
    dtype = np.dtype(DATATYPES[tensor.datatype])
    if values.dtype.kind not in {"b": "b", "f": "fiu"}.get(dtype.kind, "iu"):
        raise wrong
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, values):
        raise wrong
    return cast


def _with_gaps(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers of which some are null, JSON's word for NaN, as numbers; others as they are."""
    numbers = all(value is None or type(value) in (int, float) for value in values.flat)
    return values.astype(np.float64) if numbers else values


def _texts(content: memoryview, name: str) -> list[str]:
    """Elements of BYTES: a length of four bytes, little-endian, and as many bytes of UTF-8."""
    texts, at = [], 0
    try:
        while at < len(content):
            start = at + 4
            at = start + int.from_bytes(content[at:start], "little")
            if start > len(content) or at > len(content):
                raise RefusedError(400, f"{name[:80]}: an element is cut short")
            texts.append(bytes(content[start:at]).decode())
    except UnicodeDecodeError:
        raise RefusedError(400, f"{name[:80]}: an element is not UTF-8") from None
    return texts


def _rows(tensors: Mapping[str, NDArray[Any]]) -> Rows:
    """Rows of numbers, or a table from columns of one value a row, NaN where it is missing."""
    inputs = tensors.get(INPUTS)
    if len(tensors) == 1 and inputs is not None and inputs.ndim > 1 and inputs.dtype != object:
        return inputs
    rows = {len(values) for values in tensors.values()}
    if len(rows) > 1:
        raise RefusedError(400, f"got columns of {sorted(rows)} rows, wanted as many in each")
    columns = {}
    for name, values in tensors.items():
        if values.size != len(values):
            text = f"got {name[:80]!r} of shape {list(values.shape)}, wanted [rows] or [rows, 1]"
            raise RefusedError(400, f"{text} for a column, or the one tensor {INPUTS!r}")
        columns[name] = pa.array(values.reshape(-1))
    return pa.table(columns)


def _options(request: InferRequest) -> dict[str, Any]:
    parameters = request.parameters
    known = (*_OPTIONS, *_IGNORED)
    unknown = next((name for name in parameters if name not in known), None)
    if unknown is not None:
        text = f"got the parameter {unknown[:80]!r}, wanted some of {', '.join(known)}"
        raise RefusedError(400, text)
    try:
        given = {name: parameters[name] for name in _OPTIONS if name in parameters}
        return Options.model_validate(given).chosen
    except Invalid as error:
        raise RefusedError(400, f"parameters.{_explain(error)}") from None


def _outputs(request: InferRequest) -> list[tuple[str, bool]] | bool:
    """Names of the outputs, and whether each comes as bytes; or whether all of them do."""
    all_binary = request.parameters.get("binary_data_output", False) is True
    if not request.outputs:
        return all_binary
    found = {}
    for output in request.outputs:
        further = set(output.parameters) - {"binary_data"}
        if further:
            text = f"{output.name[:80]}: got the parameter {min(further)[:80]!r}, wanted none but "
            raise RefusedError(400, f"{text}binary_data")
        found[output.name] = output.parameters.get("binary_data", all_binary) is True
    return list(found.items())


def _explain(error: Invalid) -> str:
    """The first fault, without what came: it may be huge."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:80] for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}" if where else message
