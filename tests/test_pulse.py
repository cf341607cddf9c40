"""A worker that hangs is told from one that works, one that starts, and a machine that stood."""

import asyncio
import multiprocessing
import threading
import time

import pytest

from mcdrop_service import pulse as module
from mcdrop_service.pulse import Patrol, Pulse


class Watched:
    """Two workers and their patrol, whose clock the test turns."""

    def __init__(self, patience: float = 3.0) -> None:
        self.now = 0.0
        self.pulse = Pulse(2)
        self.patrol = Patrol(self.pulse, patience, lambda: self.now)

    def watch(self, seconds: float, *alive: int, step: float = 0.25) -> list[int]:
        """Who is named while so many seconds pass, in which some are alive."""
        found = []
        for _ in range(round(seconds / step)):
            self.now += step
            for worker in alive:
                self.pulse.counts[worker] += 1
            found += self.patrol.look()
        return found


def test_who_falls_silent_is_named_once() -> None:
    watched = Watched()
    assert watched.watch(10, 0, 1) == []
    assert watched.watch(2.75, 0) == []
    assert watched.watch(0.25, 0) == [1]
    assert watched.watch(40, 0) == []  # its successor has not come to life
    assert watched.watch(1, 0, 1) == []
    assert watched.watch(10) == [0, 1]


def test_who_starts_has_fifteen_times_as_long() -> None:
    watched = Watched()
    watched.watch(1, 0, 1)
    watched.patrol.forget(1)  # it died, and another is being started
    assert watched.watch(44, 0) == []
    assert watched.watch(10, 0, 1) == []
    watched.patrol.forget(1)
    assert watched.watch(44, 0) == []
    watched.patrol.forget(1)  # that one died too
    assert watched.watch(44, 0) == []
    assert watched.watch(1, 0) == [1]  # it hangs
    assert watched.watch(44, 0) == []
    assert watched.watch(1, 0) == [1]  # so does its successor


def test_where_everything_stood_still_nobody_is_to_blame() -> None:
    watched = Watched()
    watched.watch(1, 0, 1)
    watched.now += 3600
    assert watched.patrol.look() == []
    assert watched.watch(2, 0, 1) == []


def test_an_event_loop_that_does_not_turn_gives_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT", 0.01)
    pulse, blocked, ended = Pulse(1), threading.Event(), threading.Event()

    async def live() -> None:
        beat = asyncio.ensure_future(pulse.beat(0))
        await asyncio.sleep(0.1)
        blocked.set()
        ended.wait(20)  # an evaluation
        beat.cancel()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    assert blocked.wait(20)
    before = pulse.counts[0]
    time.sleep(0.1)
    after = pulse.counts[0]
    ended.set()
    thread.join()
    assert after == before > 1


def count_to_three(pulse: Pulse) -> None:
    for _ in range(3):
        pulse.counts[1] += 1


def test_signs_reach_another_process() -> None:
    pulse = Pulse(2)
    process = multiprocessing.get_context("spawn").Process(target=count_to_three, args=(pulse,))
    process.start()
    process.join()
    assert list(pulse.counts) == [0, 3]
