"""What travels between the API processes and the workers: an ask, and replies to it.

An API process turns a request into an `Ask`, whatever its body's form was; a worker turns the ask
into one `Reply` or, where a stream was asked for, into several. Knows their fields, and their
bytes on the socket between the processes: JSON for what is small, raw bytes for arrays, tables and
bodies; nothing is ever unpickled. Callers repeat themselves, so what asks of one kind have in
common stands apart from what is each one's own, and is read once. Refuses to know HTTP's wire,
models and processes.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.data.columns import arrow_bytes
from mcdrop_service.limits import BODY_BYTES

__all__ = ["Ask", "Body", "Headers", "Images", "RefusedError", "Reply", "Rows", "own"]

JSON = "application/json"
LOOK, TELL = "look", "tell"
"""Formats of asks that have no rows: what can the worker answer with, after a look or as it is?"""


@dataclass(frozen=True)
class Images:
    """Rows as PNG or JPEG files in base64, one a row."""

    files: list[str]


class Body(NamedTuple):
    """A request's body as it came, which the worker is to read.

    Attributes:
        content: the bytes as they came.
        kind: content type, lower case, without parameters.
        query: the query string, which holds the options of a binary body.
        shape: of a body of bare numbers, as the header ``x-shape`` says it; "" where it does not.
        gzip: whether it is compressed.
        most: bytes that it may have when it is not.
    """

    content: bytes
    kind: str
    query: str = ""
    shape: str = ""
    gzip: bool = False
    most: int = BODY_BYTES


Rows: TypeAlias = NDArray[Any] | list[dict[str, Any]] | pa.Table | Images | Body
"""Numbers (B, D) or (B, ...) in the model's raw unit; records; a table; or what gives them."""


@dataclass(frozen=True)
class Ask:
    """Rows to answer for, what to ask, and how to lay the answer out.

    Attributes:
        rows: the rows, in whichever form they came.
        model: its name; None: the only one.
        version: None: the one that is served by default.
        samples: T; None: the model's own; "auto": as many as each row needs.
        tolerance: Monte Carlo error that is good enough, as `Predictor.predict` takes it; "auto"
            and streams stop there.
        seed: draws the thinned networks.
        level: probability of sets and intervals; None: the model's own.
        risk: error rate of `abstain`; None: the model's own.
        fields: the fields of a row to give; None: all.
        passes: whether to give every pass too, (T, C) a row.
        stream: whether to reply after 8, 16, 32, ... passes already.
        format: who lays the answer out: a name in `mcdrop_service.formats.FORMATS`.
        extra: what the format alone understands; JSON values.
        id: of the request, for logs and feedback.
        deadline: by `time.monotonic`, which all processes of a machine share; nobody waits for
            the answer after it.
    """

    rows: Rows
    model: str | None = None
    version: int | None = None
    samples: int | Literal["auto"] | None = None
    tolerance: float | None = None
    seed: int = 0
    level: float | None = None
    risk: float | None = None
    fields: tuple[str, ...] | None = None
    passes: bool = False
    stream: bool = False
    format: str = "json"
    extra: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    deadline: float = 0.0

    def with_(self, **changes: Any) -> Self:
        """The same ask but for ``changes``."""
        other = object.__new__(type(self))  # `replace` would cost as much as an evaluation
        other.__dict__.update(self.__dict__, **changes)
        return other

    def pack(self) -> tuple[bytes, bytes]:
        """What is its own and what it shares with others, and its rows' bytes."""
        shared, content = self.share()
        return own(self.id, self.deadline) + shared, content

    def share(self) -> tuple[bytes, bytes]:
        """All but id, deadline and rows as JSON, and the rows' bytes."""
        values = self.__dict__
        head = {name: values[name] for name, usual in _USUAL if values[name] != usual}
        rows = self.rows
        if isinstance(rows, np.ndarray):
            rows = np.ascontiguousarray(rows)
            head["array"] = (rows.dtype.str, rows.shape)
            content: bytes = rows.tobytes()
        elif isinstance(rows, Body):
            head["body"] = (rows.kind, rows.query, rows.shape, rows.gzip, rows.most)
            content = rows.content
        elif isinstance(rows, pa.Table):
            head["table"] = "arrow"
            content = arrow_bytes(rows)
        else:
            head["list"] = "images" if isinstance(rows, Images) else "records"
            content = orjson.dumps(rows.files if isinstance(rows, Images) else rows)
        return orjson.dumps(head), content

    @classmethod
    def unpack(cls, head: bytes, content: bytes) -> "Ask":
        """Read what `pack` gave."""
        deadline, length = _OWN.unpack_from(head)
        end = _OWN.size + length
        shared = head[end:]
        ask, form, about = _shared(shared) if len(shared) <= _KEPT_BYTES else _read(shared)
        rows: Rows
        if form == "body":
            rows = Body(content, *about)
        elif form == "array":
            rows = np.frombuffer(content, about[0]).reshape(about[1])
        elif form == "table":
            rows = pa.ipc.open_stream(content).read_all()
        else:
            rows = Images(orjson.loads(content)) if about == "images" else orjson.loads(content)
        return ask.with_(rows=rows, id=head[_OWN.size : end].decode(), deadline=deadline)


def own(name: str, deadline: float) -> bytes:
    """What no two asks share: an id, of ASCII, and a deadline."""
    return _OWN.pack(deadline, len(name)) + name.encode()


def _read(head: bytes) -> tuple[Ask, str, Any]:
    """An ask without rows, the form in which they come, and what is to be known to read them."""
    values = orjson.loads(head)
    form = next(name for name in ("body", "array", "table", "list") if name in values)
    about = values.pop(form)
    if "fields" in values:
        values["fields"] = tuple(values["fields"])
    return Ask([], **values), form, about


_shared = lru_cache(256)(_read)
_KEPT_BYTES = 32 * 2**10  # of what asks share; a longer one is read each time
_OWN = struct.Struct("<dH")
_SHARED = [f for f in fields(Ask) if f.name not in ("rows", "id", "deadline")]
_USUAL = tuple((f.name, {} if f.name == "extra" else f.default) for f in _SHARED)


Headers = tuple[tuple[str, str], ...]
"""Further headers of an answer, by name."""


class Reply(NamedTuple):
    """An answer as HTTP will carry it, or a part of one.

    Attributes:
        body: its bytes.
        status: HTTP status.
        kind: content type.
        headers: further headers.
        more: whether further replies follow, of a stream.
    """

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: Headers = ()
    more: bool = False

    def pack(self) -> tuple[bytes, bytes]:
        """All but the body as JSON, and the body."""
        return _packed(*self[1:]), self.body

    @classmethod
    def unpack(cls, head: bytes, content: bytes) -> "Reply":
        """Read what `pack` gave."""
        return cls(content, *_told(head))


@lru_cache(256)
def _packed(*head: Any) -> bytes:
    return orjson.dumps(head)


@lru_cache(256)
def _told(head: bytes) -> tuple[Any, ...]:
    status, kind, headers, more = orjson.loads(head)
    return status, kind, tuple((name, value) for name, value in headers), more


class RefusedError(Exception):
    """A request is turned away, with this status and a message fit for the caller."""

    def __init__(self, status: int, detail: str, *headers: tuple[str, str]) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or ((("retry-after", "1"),) if status == 503 else ())

    @property
    def reply(self) -> Reply:
        """The answer that says so."""
        body = orjson.dumps({"detail": str(self)}, default=str)
        return Reply(body, self.status, headers=self.headers)
