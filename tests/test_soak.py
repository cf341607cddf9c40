"""The soak, in short: a worker killed and a version swapped every few seconds."""

from pathlib import Path

import pytest

from benchmarks.soak.__main__ import soak

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc"),
]


def test_nothing_is_lost_or_wrong_while_workers_die_and_versions_change() -> None:
    found = soak(20, kill=6, swap=4)
    seen = found["seen"]
    assert not [outcome for outcome in seen if "lost" in outcome or "wrong" in outcome], seen
    for kind in ("good: answered", "binary: answered", "stream: answered", "bad: refused"):
        assert seen.get(kind, 0) > 0, seen
    assert found["code"] == 0
    assert found["late"] < found["early"] + 500  # MiB; a worker more or less may be there
