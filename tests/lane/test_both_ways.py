"""The short way answers plain requests as the long way does, and leaves it all others."""

from typing import Any

import pytest

from tests.lane.doors import KEY, LINE, Door, at, request

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


@pytest.mark.parametrize("keys", [(), (LINE,)])
def test_long_heads_are_looked_at_after_keys(keys: tuple[str, ...]) -> None:
    async def do(door: Door) -> None:
        said = await door.ask(request(x_shape="1" * 8192))
        assert said.startswith(b"HTTP/1.1 401 " if keys else b"HTTP/1.1 431 ")
        assert door.long == 1

    at(do, keys=keys)


def test_keys_open_both_ways_and_are_counted_once() -> None:
    async def do(door: Door) -> None:
        first = await door.ask(request(x_api_key=KEY))
        assert (first[:15], door.long, door.seen[0].caller) == (b"HTTP/1.1 200 OK", 0, "alice")
        assert (await door.ask(request(x_api_key=KEY))).startswith(b"HTTP/1.1 429 ")
        assert (await door.ask(request())).startswith(b"HTTP/1.1 401 ")
        assert (await door.ask(request(x_api_key="x"))).startswith(b"HTTP/1.1 401 ")
        assert door.long == 3

    at(do, keys=(LINE,))
