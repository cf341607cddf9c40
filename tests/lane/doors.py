"""A server's protocol at one connection, between a backend that echoes and a pipe."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from mcdrop_service.ask import Ask, Body, RefusedError, Reply
from mcdrop_service.gate import Gate
from mcdrop_service.guard import Guard
from mcdrop_service.headers import SecureHeaders
from mcdrop_service.intake import Intake
from mcdrop_service.keys import Keyring, make, read_keys
from mcdrop_service.lane import Lane, protocol_of
from mcdrop_service.waiting import Waiting
from mcdrop_service.watch import Seen, Watch

BODY = b'{"inputs": [[1, 2]]}'
PLAIN = {"content-type": "application/json", "x-request-id": "order-17"}
KEY, LINE = make("alice", 1)


class Echo:
    """A backend that answers with what the ask's own bytes say, when it is told to."""

    ready, links, workers, full = True, 1, 1, False

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.released = 0

    def start(self) -> None: ...

    def give(self, waiting: Waiting) -> None:
        if self.full:
            raise RefusedError(503, "512 requests are waiting already")
        self.waiting.append(waiting)

    def release(self, waiting: Waiting) -> None:
        self.released += 1

    def answer(self) -> None:
        for waiting in self.waiting:
            waiting.put(self.reply(Ask.unpack(*waiting.packed)))
        self.waiting = []

    async def submit(self, ask: Ask, receive: Any = None) -> Reply:
        return self.reply(ask)

    @staticmethod
    def reply(ask: Ask) -> Reply:
        assert isinstance(ask.rows, Body)
        said = [*ask.rows._replace(content=b""), ask.rows.content, ask.format, ask.id]
        return Reply(repr(said).encode())


class Pipe(asyncio.Transport):
    """A connection whose other end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.open = b"", True

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.open = False

    abort = close

    def is_closing(self) -> bool:
        return not self.open

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Door:
    """A server's protocol at one connection."""

    def __init__(self, deadline: float = 30.0, keys: tuple[str, ...] = (), most: int = 2**24):
        self.backend, self.seen, self.pending = Echo(), list[Seen](), 0
        self.onlookers = [self.seen.append]
        ring = Keyring(read_keys(keys))
        self.intake = Intake(deadline, most)
        gate: Any = Gate(self.none, self.backend, self.intake)  # type: ignore[arg-type]
        layers = Watch(
            SecureHeaders(Guard(gate, ring, ())),
            self.onlookers,
            self.count,
            frozenset({"/predict"}),
        )
        backend: Any = self.backend
        lane = Lane(self.intake, ring, backend, self.onlookers, self.count)
        self.long = 0  # requests that went the long way

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.long += 1
            await layers(scope, receive, send)

        state = ServerState()
        state.default_headers = [(b"date", b"today")]
        config = uvicorn.Config(app, lifespan="off", log_config=None, proxy_headers=False)
        kind: Any = protocol_of(lane)
        self.protocol = kind(config=config, server_state=state, app_state={})
        self.pipe = Pipe()
        self.protocol.connection_made(self.pipe)

    def count(self, change: int) -> None:
        self.pending += change

    @staticmethod
    async def none(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"none"})

    async def ask(self, *parts: bytes) -> bytes:
        """Send parts of requests; what comes back at once, and when the workers have answered."""
        self.pipe.sent = b""
        for part in parts:
            self.protocol.data_received(part)
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        self.backend.answer()
        await asyncio.sleep(0.01)
        return self.pipe.sent


def request(
    body: bytes = BODY, target: str = "/predict", start: str = "POST", **headers: str
) -> bytes:
    version = headers.pop("version", "1.1")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {"content-length": str(len(body)), **PLAIN, **named}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{start} {target} HTTP/{version}\r\n{head}\r\n".encode() + body


def at(do: Callable[[Door], Awaitable[None]], **options: Any) -> None:
    async def go() -> None:
        door = Door(**options)
        await do(door)
        assert (door.pending, door.intake.held) == (0, 0)
        if door.pipe.open:
            door.protocol.connection_lost(None)

    asyncio.run(go())
