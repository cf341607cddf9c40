"""The short way answers plain requests as the long way does, and leaves it all others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mcdrop_service.ask import Ask, Body, RefusedError, Reply
from mcdrop_service.gate import Gate
from mcdrop_service.guard import Guard
from mcdrop_service.headers import SecureHeaders
from mcdrop_service.intake import Intake
from mcdrop_service.keys import Keyring, make, read_keys
from mcdrop_service.lane import Lane, protocol_of
from mcdrop_service.limits import HELD_BYTES
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
        ring = Keyring(read_keys(keys))
        self.intake = Intake(deadline, most)
        gate: Any = Gate(self.none, self.backend, self.intake)  # type: ignore[arg-type]
        layers = Watch(
            SecureHeaders(Guard(gate, ring, ())),
            [self.seen.append],
            self.count,
            frozenset({"/predict"}),
        )
        backend: Any = self.backend
        lane = Lane(self.intake, ring, backend, [self.seen.append], self.count)
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


KINDS = [
    {},
    {"content_type": "application/octet-stream", "target": "/predict?seed=1&model=a%20b"},
    {"content_type": "application/octet-stream", "x_shape": "1,5", "content_encoding": "gzip"},
    {"accept": "application/vnd.mcdrop.tensors", "x_request_id": "", "x_timeout": "2"},
    {"connection": "keep-alive", "x_request_id": "not one of ours"},
]


@pytest.mark.parametrize("given", KINDS, ids=str)
def test_both_ways_answer_the_same(given: dict[str, Any]) -> None:
    async def do(door: Door) -> None:
        short = await door.ask(request(**given))
        assert (door.long, len(door.seen)) == (0, 1)
        long = await door.ask(request(**given, origin="http://t", host="t"))
        assert door.long == 1
        one, other = (said.partition(b"\r\n\r\n") for said in (short, long))
        names = [name for name in one[0].split(b"\r\n") if not name.startswith(b"x-request-id")]
        assert sorted(names) == sorted(
            name for name in other[0].split(b"\r\n") if not name.startswith(b"x-request-id")
        )
        first, second = (seen._replace(seconds=0) for seen in door.seen)
        assert (first.id == "order-17") == (given.get("x_request_id") is None)
        assert first.id.encode() in one[0]
        assert one[2] == other[2].replace(second.id.encode(), first.id.encode())
        assert first._replace(id="") == second._replace(id="")

    at(do)


@pytest.mark.parametrize(
    "given",
    [
        {"start": "GET"},
        {"target": "/predict/"},
        {"target": "/predict/stream"},
        {"target": "http://t/predict"},
        {"target": "/%70redict"},
        {"version": "1.0"},
        {"version": "1.0", "connection": "keep-alive"},
        {"connection": "close"},
        {"expect": "100-continue"},
        {"origin": "http://elsewhere"},
        {"sec_fetch_site": "cross-site"},
        {"content_type": "text/plain"},
        {"content_encoding": "br"},
        {"x_timeout": "soon"},
        {"body": b" " * 2**17},
        {"content_length": "", "transfer_encoding": "chunked", "body": b"2\r\n{}\r\n0\r\n\r\n"},
    ],
    ids=lambda given: str(given)[:60],
)
def test_what_is_not_plain_goes_the_long_way(given: dict[str, Any]) -> None:
    async def do(door: Door) -> None:
        said = await door.ask(request(**given))
        assert (door.long, len(door.seen)) == (1, 1)
        assert said.startswith(b"HTTP/1.1 ")

    at(do)


@pytest.mark.parametrize(
    "given",
    [
        *KINDS[1:3],
        {"start": "PUT"},
        {"target": "/predict/"},
        {"version": "1.0"},
        {"x_timeout": "soon"},
        {"x_request_id": "order-18"},
        {"body": b" " * 2**17},
    ],
    ids=lambda given: str(given)[:60],
)
def test_what_was_asked_before_at_a_connection_changes_no_answer(given: dict[str, Any]) -> None:
    async def do(door: Door) -> None:
        for each in ({}, {}, given, given, {}):
            fresh, long = Door(), door.long
            whole = request(**each, connection="keep-alive")
            expected = await fresh.ask(whole)
            if door.pipe.open:  # not after a request of HTTP/1.0
                assert (await door.ask(whole), door.long - long) == (expected, fresh.long)
            fresh.protocol.connection_lost(None)

    at(do)


def test_a_body_may_come_in_pieces() -> None:
    async def do(door: Door) -> None:
        whole = request()
        said = await door.ask(whole[:30], whole[30:-12], whole[-12:-5], whole[-5:])
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert repr(BODY).encode() in said
        assert door.long == 0

    at(do)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def do(door: Door) -> None:
        assert await door.ask(request()[:-1]) == b""
        await asyncio.sleep(0.1)
        assert door.pipe.sent.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nconnection: close\r\n" in door.pipe.sent
        assert not door.pipe.open  # what comes of the body yet would be taken for a request
        assert ([seen.status for seen in door.seen], door.long) == ([408], 0)

    at(do, deadline=0.05)


def test_requests_one_behind_the_other_are_answered_in_order() -> None:
    async def do(door: Door) -> None:
        said = await door.ask(b"".join(request(x_request_id=f"n{i}") for i in range(3)))
        places = [said.index(f"x-request-id: n{i}".encode()) for i in range(3)]
        assert places == sorted(places)
        assert (said.count(b"HTTP/1.1 200 OK"), door.long) == (3, 2)

    at(do)


def test_a_client_that_goes_away_costs_nothing_more() -> None:
    async def do(door: Door) -> None:
        door.protocol.data_received(request())
        (waiting,) = door.backend.waiting
        door.protocol.connection_lost(None)
        door.pipe.close()
        assert (door.backend.released, door.seen[0].status) == (1, 499)
        waiting.put(Reply(b"late"))
        assert door.pipe.sent == b""

    at(do)


def test_a_refusal_of_the_backend_is_an_answer() -> None:
    async def do(door: Door) -> None:
        door.backend.full = True
        said = await door.ask(request())
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in said

    at(do)


def test_after_a_refusal_the_next_request_has_its_time() -> None:
    async def do(door: Door) -> None:
        honest, door.backend.full = door.backend.release, True

        def release(waiting: Waiting) -> None:
            door.backend.full = False
            honest(waiting)

        door.backend.release = release  # type: ignore[method-assign]
        door.protocol.data_received(request(x_request_id="n0") + request(x_request_id="n1"))
        assert door.protocol.timeout_keep_alive_task is None  # the second is under way
        said = door.pipe.sent + await door.ask()
        assert said.index(b"503 Service") < said.index(b"x-request-id: n0")
        assert said.index(b"x-request-id: n0") < said.index(b"200 OK")
        assert said.count(b"HTTP/1.1") == 2

    at(do)


def test_bodies_that_are_coming_are_bounded_together_on_both_ways() -> None:
    async def do(door: Door) -> None:
        door.protocol.data_received(request()[:-1])
        assert door.intake.held == len(BODY) - 1
        assert (await door.ask(request()[-1:])).startswith(b"HTTP/1.1 200 ")
        assert (door.intake.held, door.long) == (0, 0)
        door.intake.held = HELD_BYTES + 1  # others' bodies
        assert (await door.ask(request())).startswith(b"HTTP/1.1 200 ")
        assert (door.intake.held, door.long) == (HELD_BYTES + 1, 1)
        door.intake.held = 0
        door.protocol.data_received(request()[:-1])
        door.protocol.connection_lost(None)
        door.pipe.close()

    at(do)


def test_an_answer_that_cannot_be_sent_ends_its_own_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def do(door: Door) -> None:
        door.protocol.data_received(request())
        (waiting,) = door.backend.waiting
        waiting.put(Reply(b"", headers=(("x", "\ud800"),)))  # which no encoding has
        assert not door.pipe.open
        assert (door.pipe.sent, "order-17" in caplog.text) == (b"", True)

    at(do)


@pytest.mark.parametrize("keys", [(), (LINE,)])
def test_long_heads_are_looked_at_after_keys(keys: tuple[str, ...]) -> None:
    async def do(door: Door) -> None:
        said = await door.ask(request(x_shape="1" * 8192))
        assert said.startswith(b"HTTP/1.1 401 " if keys else b"HTTP/1.1 431 ")
        assert door.long == 1

    at(do, keys=keys)


def test_a_server_that_stops_finishes_what_it_has_begun() -> None:
    async def do(door: Door) -> None:
        door.protocol.data_received(request())
        door.protocol.shutdown()
        assert door.pipe.open
        (turn,) = door.protocol.server_state.tasks  # uvicorn waits for them
        door.backend.answer()
        assert b"\r\nconnection: close\r\n" in door.pipe.sent
        assert (door.pipe.open, door.protocol.server_state.tasks) == (False, set())
        turn.cancel("too late")
        await asyncio.sleep(0)
        assert door.pipe.sent.count(b"HTTP/1.1") == 1

    at(do)


def test_a_server_that_stops_at_once_says_so() -> None:
    async def do(door: Door) -> None:
        door.protocol.data_received(request())
        for turn in door.protocol.server_state.tasks:
            turn.cancel("as uvicorn does")
        await asyncio.sleep(0)
        assert door.pipe.sent.startswith(b"HTTP/1.1 503 ")
        assert door.backend.released == 1

    at(do)


def test_keys_open_both_ways_and_are_counted_once() -> None:
    async def do(door: Door) -> None:
        first = await door.ask(request(x_api_key=KEY))
        assert (first[:15], door.long, door.seen[0].caller) == (b"HTTP/1.1 200 OK", 0, "alice")
        assert (await door.ask(request(x_api_key=KEY))).startswith(b"HTTP/1.1 429 ")
        assert (await door.ask(request())).startswith(b"HTTP/1.1 401 ")
        assert (await door.ask(request(x_api_key="x"))).startswith(b"HTTP/1.1 401 ")
        assert door.long == 3

    at(do, keys=(LINE,))


def test_the_settings_bound_of_a_body_holds() -> None:
    async def do(door: Door) -> None:
        assert (await door.ask(request(b" " * 1000))).startswith(b"HTTP/1.1 200 ")
        assert (await door.ask(request(b" " * 1001))).startswith(b"HTTP/1.1 413 ")
        assert door.long == 1

    at(do, most=1000)
