"""What both clients send and how they read what comes: pure, without a connection.

Knows routes, headers and bodies, and which answers are worth another try. Refuses to know
connections and clocks.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import httpx
import numpy as np

from mcdrop.data.columns import arrow_bytes, arrow_table, is_table
from mcdrop.errors import InputError, RepositoryError, ServiceError
from mcdrop.packing import CONTENT_TYPE, unpack
from mcdrop.predictions import Predictions

__all__ = ["Events", "Options", "Request", "Tries", "ask", "feedback", "read", "refuse"]

_RETRIED = frozenset({429, 502, 503})
_LONGEST = 30.0  # seconds between two tries, whatever a server says


class Options(TypedDict, total=False):
    """What may be asked for besides rows, samples and seed."""

    level: float | None
    risk: float | None
    tolerance: float | None
    model: str | None
    version: int | None
    request_id: str | None


@dataclass(frozen=True)
class Request:
    """A request, as httpx takes it."""

    path: str
    method: str = "POST"
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `httpx.Client.request`."""
        return {("url" if name == "path" else name): value for name, value in vars(self).items()}


def ask(rows: Any, options: Mapping[str, Any], path: str) -> Request:
    """A request for predictions.

    Args:
        rows: as for `mcdrop.Predictor.predict`; or the bytes of image files.
        options: of `/predict`, and ``request_id``; None for those not given.
        path: of the route.

    Raises:
        InputError: the rows cannot be sent.
    """
    given = {name: value for name, value in options.items() if value is not None}
    headers = {"accept": CONTENT_TYPE}
    if "request_id" in given:
        headers["x-request-id"] = given.pop("request_id")
    if isinstance(rows, Sequence) and rows and isinstance(rows[0], Mapping):
        return _json({"records": list(rows)}, given, headers, path)
    if isinstance(rows, Sequence) and rows and isinstance(rows[0], bytes):
        files = [base64.b64encode(file).decode() for file in rows]
        return _json({"images": files}, given, headers, path)
    if is_table(rows):
        kind, content = "application/vnd.apache.arrow.stream", arrow_bytes(arrow_table(rows))
    else:
        kind, content = "application/x-npy", _npy(rows)
    params = {name: str(value) for name, value in given.items()}
    return Request(path, "POST", params, {**headers, "content-type": kind}, content)


def read(content: bytes) -> Predictions:
    """The predictions of an answer's body.

    Raises:
        ServiceError: the body is something else.
    """
    try:
        return unpack(content)
    except InputError as error:
        raise ServiceError(f"the server's answer cannot be read: {error}") from None


class Events:
    """Server-sent events out of lines: what `/predict/stream` sends."""

    def __init__(self) -> None:
        self._name = ""
        self._done = False

    def take(self, line: str) -> Predictions | None:
        """Take a line; the predictions it brings, if any.

        Raises:
            ServiceError: the stream failed on its way.
        """
        field, _, value = line.partition(": ")
        if field == "event":
            self._name, self._done = value, value == "done"
        if field != "data" or self._name == "done":
            return None
        if self._name == "error":
            raise ServiceError(f"the stream failed: {_detail(value.encode())}")
        return read(base64.b64decode(value))

    def check(self) -> None:
        """Make sure that the stream has come to its end.

        Raises:
            ServiceError: it was cut short.
        """
        if not self._done:
            raise ServiceError("the stream was cut short")


def feedback(request_id: str, labels: Sequence[Any]) -> Request:
    """A request that brings labels."""
    return _json({"request_id": request_id, "labels": list(labels)}, {}, {}, "/feedback")


class Tries:
    """How often a request has been tried, and whether to try again."""

    def __init__(self, retries: int) -> None:
        self._left = retries
        self._wait = 0.1

    def after(self, outcome: httpx.Response | httpx.TransportError) -> float:
        """Seconds to wait before the next try.

        Raises:
            McdropError: another would not help, or there have been enough.
        """
        if isinstance(outcome, httpx.Response):
            retry = outcome.status_code in _RETRIED
            failure = refuse(outcome.status_code, outcome.content)
            asked = outcome.headers.get("retry-after", "")
        else:
            retry, failure, asked = True, ServiceError(f"no answer came: {outcome!r}"), ""
        self._left -= 1
        if not retry or self._left < 0:
            raise failure from None  # which says what happened
        self._wait *= 2
        return min(float(asked) if asked.isdecimal() else self._wait, _LONGEST)


def refuse(status: int, content: bytes) -> Exception:
    """What to raise for an answer that is none."""
    said = f"{_detail(content)} (status {status})"
    if status == 404:
        return RepositoryError(said)
    return InputError(said) if status in (400, 413, 415, 422) else ServiceError(said)


def _detail(content: bytes) -> str:
    try:
        return str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace") or "no reason was given"


def _json(
    body: Mapping[str, Any], options: Mapping[str, Any], headers: Mapping[str, str], path: str
) -> Request:
    try:
        content = json.dumps({**body, **options}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"rows cannot be sent as JSON: {error}; give numbers, texts and None"
        ) from None
    return Request(path, "POST", {}, {**headers, "content-type": "application/json"}, content)


def _npy(rows: Any) -> bytes:
    try:
        values = np.asarray(rows)
    except ValueError:
        values = np.empty(0, object)
    if values.dtype.kind not in "fiu" or values.ndim == 0:
        raise InputError(
            f"got {type(rows).__name__}, wanted rows: numbers (B, ...), records, an Arrow table or "
            "a data frame, or the bytes of image files"
        )
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return stream.getvalue()
