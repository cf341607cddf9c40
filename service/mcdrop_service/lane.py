"""The short way of a plain ``POST /predict``: from a connection's bytes to a worker and back.

Of every request uvicorn makes a scope, a task and several messages, and FastAPI a walk through its
layers. Where rows are evaluated in microseconds that is most of what a request costs, so one that
is plain in every respect is answered here, from within uvicorn's protocol. One that is not - its
body is long or comes in chunks, another waits before it, a browser sent it, it would be refused -
goes uvicorn's way to the gate; both ways read, ask and answer by the same parts and say the same.

Knows uvicorn's protocol for HTTP, which it extends, and which requests are plain. Refuses to know
what asks mean and who answers them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mcdrop_service.ask import RefusedError, Reply, own
from mcdrop_service.backend import Backend
from mcdrop_service.gate import identify
from mcdrop_service.guard import admit
from mcdrop_service.headers import SECURE
from mcdrop_service.intake import Intake
from mcdrop_service.keys import Keyring
from mcdrop_service.limits import HELD_BYTES
from mcdrop_service.waiting import Waiting
from mcdrop_service.watch import Onlooker, Seen, tell

__all__ = ["Lane", "protocol_of"]

_log = logging.getLogger(__name__)
_PATH = b"/predict"
_LONGEST = 64 * 2**10  # bytes of a plain body: what uvicorn holds before it stops reading
# Headers that somebody off this way has to look at: a browser's, and those that change the wire.
_UNUSUAL = frozenset({b"origin", b"sec-fetch-site", b"transfer-encoding", b"expect", b"upgrade"})
_FIXED = b"".join(b"%b: %b\r\n" % pair for pair in SECURE)


@dataclass(frozen=True)
class Lane:
    """What plain requests meet on their way, the same as others.

    Attributes:
        intake: reads heads, and bounds what bodies take together; the gate's.
        ring: the keys that are let in.
        backend: the way to the workers.
        onlookers: told of each request when it has been answered.
        pending: told +1 when a request comes and -1 when it has been answered.
    """

    intake: Intake
    ring: Keyring
    backend: Backend
    onlookers: Sequence[Onlooker]
    pending: Callable[[int], None]


def protocol_of(lane: Lane) -> type[asyncio.Protocol]:
    """The protocol for uvicorn's setting ``http``."""
    return type("LaneProtocol", (_Protocol,), {"lane": lane})


class _Turn:
    """A request on the short way, in the place of uvicorn's cycle."""

    message_event = asyncio.Event()  # uvicorn sets it; nobody waits for it
    keep_alive, response_complete = True, False
    comes = True  # the body, still
    timer: asyncio.TimerHandle | None = None
    waiting: Waiting | None = None

    def __init__(self, protocol: "_Protocol", name: str, caller: str, head: bytes, until: float):
        self.protocol, self.name, self.caller = protocol, name, caller
        self.head, self.until, self.began = head, until, time.monotonic()
        self.body = b""
        protocol.lane.pending(1)
        protocol.tasks.add(self)  # type: ignore[arg-type]

    def take(self, body: bytes) -> None:
        """A part of the body has come."""
        self.body += body
        self.protocol.lane.intake.held += len(body)

    def ask(self) -> None:
        """The body has come."""
        self.comes = False
        packed = own(self.name, self.until) + self.head, self.body
        self.waiting = Waiting(packed, self.until, self.answer)
        try:
            self.protocol.lane.backend.give(self.waiting)
        except RefusedError as refused:  # said when the parser is done with what has come
            self.protocol.loop.call_soon(self.answer, refused.reply)

    def late(self) -> None:
        """The body has not come in time, and what comes of it yet is no request."""
        if self.comes:
            self.keep_alive = False
            self.answer(RefusedError(408, "the body did not come in time").reply)

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 - as uvicorn cancels tasks
        """The server stops, and waits no longer."""
        refused = RefusedError(503, "the server stops: try again in a second")
        asyncio.get_running_loop().call_soon(self.answer, refused.reply)

    def answer(self, reply: Reply) -> None:
        """Send a reply; what fails here ends this connection, and reaches nobody else's."""
        if self.response_complete:
            return
        try:
            self.end(reply.status)
            self.protocol.respond(reply, self.name, keep_alive=self.keep_alive)
        except Exception:
            _log.exception("request %s: its answer could not be sent", self.name)
            self.protocol.transport.abort()

    def end(self, status: int) -> None:
        """It is answered, or needs no answer any more."""
        self.response_complete, self.comes = True, False
        lane, now = self.protocol.lane, time.monotonic()
        lane.intake.held -= len(self.body)
        if self.timer is not None:
            self.timer.cancel()
        if self.waiting is not None:
            lane.backend.release(self.waiting)
            self.waiting = None  # which knows this turn: no circle is left to be collected
        self.protocol.tasks.discard(self)
        lane.pending(-1)
        path = _PATH.decode()
        seen = Seen(self.name, "POST", path, path, status, now - self.began, self.caller)
        tell(lane.onlookers, seen)


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with the short way before its own."""

    lane: ClassVar[Lane]
    _lines: tuple[Any, bytes] = None, b""  # default headers, and their bytes
    _turn: _Turn | None = None  # the last
    _start: tuple[Any, ...] = ()  # of the last request, but for its body
    _found: tuple[Mapping[bytes, bytes], bytes] | None = None  # there

    def data_received(self, data: bytes) -> None:
        """Take bytes; a body that has not come with its head has to come in time."""
        super().data_received(data)
        turn = self._turn
        if turn is not None and turn.comes and turn.timer is None:
            turn.timer = self.loop.call_later(self.lane.intake.deadline, turn.late)

    def on_headers_complete(self) -> None:
        """Choose a request's way."""
        turn = self._enter() if self._is_free() else None
        if turn is None:
            super().on_headers_complete()
        else:
            self.cycle = self._turn = turn  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        if not isinstance(self.cycle, _Turn):
            super().on_body(body)
        elif not self.cycle.response_complete:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        """Ask, where the whole request has come."""
        if not isinstance(self.cycle, _Turn):
            super().on_message_complete()
        elif not self.cycle.response_complete:
            self.cycle.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there for the answer."""
        if self._turn is not None and not self._turn.response_complete:
            self._turn.end(499)
        super().connection_lost(exc)

    def respond(self, reply: Reply, name: str, *, keep_alive: bool) -> None:
        """Send the answer to the request ``name``, and go on to the next."""
        default = self.server_state.default_headers  # another list each second: it has the date
        if self._lines[0] is not default:
            type(self)._lines = default, b"".join(b"%b: %b\r\n" % pair for pair in default)
        about = f"content-type: {reply.kind}\r\nx-request-id: {name}\r\ncontent-length: "
        further = [f"{key}: {value}\r\n" for key, value in reply.headers]
        last = "\r\n" if keep_alive else "connection: close\r\n\r\n"
        head = f"{about}{len(reply.body)}\r\n{''.join(further)}{last}".encode()
        if not self.transport.is_closing():
            start = STATUS_LINE[reply.status], self._lines[1], _FIXED
            self.transport.write(b"".join((*start, head, reply.body)))
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _is_free(self) -> bool:
        """Whether nothing else goes on at this connection."""
        done = self.cycle is None or self.cycle.response_complete
        return done and not self.flow.write_paused

    def _enter(self) -> _Turn | None:
        """What is to be answered on the short way, if it is plain and will be let in."""
        lane, parser = self.lane, self.parser
        lasts = parser.should_keep_alive() and parser.get_http_version() == "1.1"
        start = parser.get_method(), self.url, lasts, self.headers
        if start != self._start:  # callers repeat themselves
            self._start, self._found = start, self._read(*start)
        if self._found is None or lane.intake.held > HELD_BYTES:
            return None
        headers, head = self._found
        try:
            until, caller = lane.intake.until(headers), admit(lane.ring, self.headers)
        except RefusedError:
            return None
        return _Turn(self, identify(headers), caller, head, until)

    def _read(
        self, method: bytes, url: bytes, lasts: bool, lines: Sequence[tuple[bytes, bytes]]
    ) -> tuple[Mapping[bytes, bytes], bytes] | None:
        """The headers and what is asked, but for the body; None where a request is not plain."""
        intake, headers = self.lane.intake, dict(lines)
        path, _, query = url.partition(b"?")
        plain = lasts and method == b"POST" and path == _PATH and b"#" not in query
        if not plain or not _plain(headers, min(_LONGEST, intake.body_bytes)):
            return None
        try:
            return headers, intake.shared(headers, query)
        except RefusedError:
            return None


def _plain(headers: Mapping[bytes, bytes], most: int) -> bool:
    """Whether the body is short, its length is said, and no other part of the server has a say."""
    length = headers.get(b"content-length", b"")
    short = length.isdigit() and len(length) < 6 and int(length) <= most
    return short and _UNUSUAL.isdisjoint(headers)
