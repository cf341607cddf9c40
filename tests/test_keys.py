"""Keys let in whom they should, as often as they should, in every process."""

import hashlib
import hmac
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdrop.errors import InputError
from mcdrop_service import keys
from mcdrop_service.keys import Key, Keyring, make, read_keys


def test_a_made_key_is_let_in_and_kept_nowhere() -> None:
    key, line = make("alice", 2.5)
    (parsed,) = read_keys([line])
    assert (parsed.name, parsed.rate) == ("alice", 2.5)
    assert parsed.digest == hashlib.sha256(key.encode()).hexdigest()
    assert key not in line
    assert len(key) >= 43  # 256 bits
    assert make("alice")[0] != make("alice")[0]


@pytest.mark.parametrize("rate", [0.001, 0.5, 10, 1234567 / 8, 1e6])
def test_rates_are_written_as_they_are_read(rate: float) -> None:
    (parsed,) = read_keys([make("alice", rate)[1]])
    assert parsed.rate == pytest.approx(rate)


def test_lines_come_from_both_places_with_comments(tmp_path: Path) -> None:
    lines = [make(name)[1] for name in ("a", "b", "c")]
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\n{lines[1]}  # until May\n{lines[2]}\n")
    assert [key.name for key in read_keys(lines[:1], file)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice:secret",
        f"alice:{'0' * 63}",
        f":{'0' * 64}",
        f"a b:{'0' * 64}",
        f"alice:{'0' * 64}:0",
        f"alice:{'0' * 64}:-1",
        f"alice:{'0' * 64}:1e9",
        f"alice:{'0' * 64}:nan",
        f"../alice:{'0' * 64}",
    ],
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(InputError, match=r"wanted NAME:SHA256.*keys_file"):
        read_keys([line])


def test_names_are_unique_and_a_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two keys named 'a'"):
        read_keys([make("a")[1], make("a")[1]])
    with pytest.raises(InputError, match="cannot be read"):
        read_keys([], tmp_path / "none")
    for name, rate in (("no name", None), ("alice", 0.0), ("alice", -1.0), ("alice", 1e9)):
        with pytest.raises(InputError):
            make(name, rate)
    with pytest.raises(InputError, match="got the name 'no name', wanted letters"):
        make("no name")


def test_each_key_is_compared_whole_and_none_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [make(name) for name in "abcd"]
    ring = Keyring(read_keys([line for _, line in made]))
    compared: list[tuple[bytes, bytes]] = []
    equal = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return equal(a, b)

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)  # type: ignore[attr-defined]
    for index, (key, _) in enumerate(made):
        compared.clear()
        assert ring.find(key.encode()) == index
        assert len(compared) == 4
    for wrong in (b"", b"\xff" * 100_000, made[0][0][:-1].encode()):
        compared.clear()
        assert ring.find(wrong) is None
        assert len(compared) == 4
        assert {(len(a), len(b)) for a, b in compared} == {(32, 32)}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    ring = Keyring([Key("a", "0" * 64, 4.0), Key("b", "1" * 64)], clock)
    assert [ring.wait(0) for _ in range(4)] == [0.0] * 4
    assert ring.wait(0) == pytest.approx(0.25)
    assert ring.wait(0) == pytest.approx(0.25)  # what is refused does not count
    clock.now += 0.25
    assert ring.wait(0) == 0.0
    assert ring.wait(0) > 0
    assert [ring.wait(1) for _ in range(1000)] == [0.0] * 1000
    clock.now += 1e6  # a bucket holds no more than a burst
    assert [ring.wait(0) for _ in range(5)] == [0.0] * 4 + [pytest.approx(0.25)]


@given(
    rate=st.floats(0.1, 50),
    gaps=st.lists(st.floats(0, 1.0), min_size=1, max_size=200),
)
def test_no_stretch_of_time_gets_more_than_its_share(rate: float, gaps: list[float]) -> None:
    clock, allowed = Clock(), []
    ring = Keyring([Key("a", "0" * 64, rate)], clock)
    for gap in gaps:
        clock.now += gap
        if ring.wait(0) == 0:
            allowed.append(clock.now)
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            share = rate * (allowed[last] - allowed[first]) + max(1.0, rate)
            assert last - first + 1 <= share + 1e-6


def _spend(ring: Keyring, times: int, results: "multiprocessing.Queue[int]") -> None:
    results.put(sum(ring.wait(0) == 0 for _ in range(times)))


def test_processes_share_one_bound() -> None:
    context = multiprocessing.get_context("fork")
    ring = Keyring([Key("a", "0" * 64, 20.0)], Clock())
    results: multiprocessing.Queue[int] = context.Queue()
    for _ in range(3):  # one after the other: each finds what those before have left
        process = context.Process(target=_spend, args=(ring, 15, results))
        process.start()
        process.join()
    assert [results.get(timeout=5) for _ in range(3)] == [15, 5, 0]
