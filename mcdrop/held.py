"""What is dear to make and large to keep: the least recently used is given up first.

Knows keys, owners and bytes. Refuses to know what is kept. Safe to share between threads.
"""

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Held"]

T = TypeVar("T")


class _Entry(NamedTuple, Generic[T]):
    value: T
    size: int


class Held(Generic[T]):
    """Values by owner and key, bounded in bytes together; the last one asked for always stays.

    What an owner had is given up with the owner.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self._entries: OrderedDict[tuple[int, Hashable], _Entry[T]] = OrderedDict()
        self._owners: set[int] = set()
        self._gone: deque[int] = deque()  # owners; told at any moment, seen to at the next call
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, owner: object, key: Hashable, size: int, make: Callable[[], T]) -> T:
        """The value of ``key``, made where it is not kept; ``size`` is what it takes, in bytes."""
        place = id(owner), key
        with self._lock:
            self._forget()
            entry = self._entries.get(place)
            if entry is None:
                if id(owner) not in self._owners:
                    self._owners.add(id(owner))
                    weakref.finalize(owner, self._gone.append, id(owner))
                entry = self._entries[place] = _Entry(make(), size)
                self.size += size
                while self.size > self.limit and len(self._entries) > 1:
                    self.size -= self._entries.popitem(last=False)[1].size
            self._entries.move_to_end(place)
            return entry.value

    def _forget(self) -> None:
        while self._gone:
            owner = self._gone.popleft()
            self._owners.discard(owner)
            for place in [place for place in self._entries if place[0] == owner]:
                self.size -= self._entries.pop(place).size
