import threading
import time

import pytest

from mcdrop.scoring.ahead import ahead


@pytest.mark.parametrize("most", [0, 1, 3])
def test_items_come_in_order(most) -> None:
    assert list(ahead(iter(range(100)), most)) == list(range(100))


def test_items_are_made_before_they_are_asked_for_but_not_too_many() -> None:
    made = []
    items = ahead((made.append(i) or i for i in range(100)), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 30
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(made) == 4  # one taken, two that lie ready, one in the hand
    items.close()


def test_makers_run_in_threads_of_their_own() -> None:
    threads = set()

    def note(items):
        for item in items:
            threads.add(threading.get_ident())
            yield item

    assert list(ahead(note(ahead(note(range(5)))))) == list(range(5))
    assert len(threads) == 2
    assert threading.get_ident() not in threads


def test_an_error_is_raised_where_items_are_taken() -> None:
    def items():
        yield 1
        raise KeyError("here")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(KeyError, match="here"):
        next(taken)


def test_makers_stop_when_nobody_takes_any_more() -> None:
    closed = []

    def endless(name):
        try:
            while True:
                yield name
        finally:
            closed.append(name)

    def through(items):
        try:
            yield from items
        finally:
            closed.append("second")
            items.close()

    before = threading.active_count()
    items = ahead(through(ahead(endless("first"))))
    assert next(items) == "first"
    items.close()
    assert sorted(closed) == ["first", "second"]
    assert threading.active_count() == before
