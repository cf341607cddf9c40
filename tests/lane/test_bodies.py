"""Bodies that come in pieces, late, together with others, or too large."""

import asyncio

from mcdrop_service.limits import HELD_BYTES
from tests.lane.doors import BODY, Door, at, request


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


def test_the_settings_bound_of_a_body_holds() -> None:
    async def do(door: Door) -> None:
        assert (await door.ask(request(b" " * 1000))).startswith(b"HTTP/1.1 200 ")
        assert (await door.ask(request(b" " * 1001))).startswith(b"HTTP/1.1 413 ")
        assert door.long == 1

    at(do, most=1000)
