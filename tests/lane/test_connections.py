"""One connection: requests in order, clients that leave, servers that stop."""

import asyncio

import pytest

from mcdrop_service.ask import Reply
from mcdrop_service.waiting import Waiting
from mcdrop_service.watch import Seen
from tests.lane.doors import Door, at, request


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


def test_an_onlooker_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_seen: Seen) -> None:
        raise OSError("the disk is full")

    async def do(door: Door) -> None:
        door.onlookers.insert(0, fail)
        assert (await door.ask(request())).startswith(b"HTTP/1.1 200 ")
        assert (await door.ask(request(origin="http://t", host="t"))).startswith(b"HTTP/1.1 200 ")
        door.protocol.data_received(request())
        door.protocol.connection_lost(None)
        door.pipe.close()
        assert [seen.status for seen in door.seen] == [200, 200, 499]
        assert not door.protocol.connections  # a server that stops waits for none
        assert (door.long, caplog.text.count("OSError: the disk is full")) == (1, 3)

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
