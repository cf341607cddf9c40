"""Frames on the sockets between API processes and workers.

A frame is a number, a head and a content: ``<I length of head><I length of content><Q number>``,
little-endian, then both. The number is the sender's name for an ask, and comes back with every
reply to it. A frame without a head takes an ask back. Refuses to know what heads and contents mean.
"""

import asyncio
import struct
from abc import ABC, abstractmethod
from typing import cast

__all__ = ["Frames", "Wire", "frame"]

_SIZES = struct.Struct("<IIQ")


def frame(number: int, head: bytes = b"", content: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return b"".join((_SIZES.pack(len(head), len(content), number), head, content))


class Frames:
    """Frames out of a stream of bytes that comes in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()  # the beginning of a frame, and how long it has to be
        self._wanted = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes, bytes]]:
        """Take some bytes; the frames that are complete now."""
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return []
            data, self._held = bytes(self._held), bytearray()
        found, at, end, self._wanted = [], 0, len(data), _SIZES.size
        while end - at >= _SIZES.size:
            head, content, number = _SIZES.unpack_from(data, at)
            middle = at + _SIZES.size + head
            if end < middle + content:
                self._wanted = middle + content - at
                break
            found.append((number, data[at + _SIZES.size : middle], data[middle : middle + content]))
            at = middle + content
        self._held += memoryview(data)[at:]
        return found


class Wire(asyncio.Protocol, ABC):
    """One end of a socket. What is sent within one turn of the event loop leaves together."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    @abstractmethod
    def got(self, number: int, head: bytes, content: bytes) -> None:
        """Take a frame."""

    @abstractmethod
    def lost(self) -> None:
        """Take notice that the other end is gone."""

    def send(self, number: int, head: bytes = b"", content: bytes = b"") -> None:
        """Send a frame soon; to nobody, if the other end is gone."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame(number, head, content))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their type

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        for number, head, content in self._frames.feed(data):
            self.got(number, head, content)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the transport."""
        self._transport = None
        self.lost()

    def _flush(self) -> None:
        parts, self._out = self._out, []
        if self._transport is not None:
            self._transport.write(b"".join(parts))
