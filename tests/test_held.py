"""What is held is bounded in bytes, and goes with its owner."""

import gc
from concurrent.futures import ThreadPoolExecutor

from mcdrop.held import Held


class Owner:
    pass


def test_what_is_kept_is_made_once() -> None:
    held, owner, made = Held[str](100), Owner(), []

    def make() -> str:
        made.append(1)
        return "a"

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: held.get(owner, 1, 10, make), range(100)))
    assert (set(values), len(made), held.size) == ({"a"}, 1, 10)


def test_the_least_recently_used_goes_first() -> None:
    held, one, two = Held[int](100), Owner(), Owner()
    for key in range(5):
        held.get(one, key, 20, lambda: 0)
    held.get(one, 0, 20, lambda: 1)  # used again
    held.get(two, 0, 30, lambda: 0)  # key 1 and key 2 make room
    assert (held.size, len(held)) == (90, 4)
    assert [held.get(one, key, 20, lambda: 1) for key in (0, 3, 4)] == [0, 0, 0]
    assert held.get(one, 1, 20, lambda: 1) == 1


def test_what_is_too_large_is_held_alone_while_it_is_used() -> None:
    held, owner = Held[int](100), Owner()
    held.get(owner, 0, 60, lambda: 0)
    held.get(owner, 1, 500, lambda: 0)
    assert (held.size, len(held)) == (500, 1)
    held.get(owner, 2, 10, lambda: 0)
    assert (held.size, len(held)) == (10, 1)


def test_an_owner_takes_its_own_along() -> None:
    held, stays, goes = Held[int](100), Owner(), Owner()
    held.get(goes, 0, 60, lambda: 0)
    del goes
    gc.collect()
    held.get(stays, 0, 10, lambda: 0)
    assert (held.size, len(held)) == (10, 1)
