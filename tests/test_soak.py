"""The soak, in short: a worker killed and a version swapped every few seconds."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak.__main__ import soak
from benchmarks.soak.memory import periods, trend


@pytest.mark.parametrize("leak", [0.0, 30.0])
def test_a_leak_is_told_from_kills_and_swaps(leak: float) -> None:
    # 1 GiB and 500 MiB a worker, one of them being started for 10 s of 30; 200 MiB a swap, for 5 s
    times = np.arange(600) + 0.5
    sizes = 1000 + 500 * (times % 30 > 10) + 200 * (times % 20 < 5) + leak * times / 60
    sizes[times < 30] = 300
    found = periods(list(zip(times, sizes, strict=True)), 60, 10)
    assert len(found) == 9
    assert trend(found, 60) == pytest.approx(leak, abs=1)
    assert found[0].largest == pytest.approx(1700 + 2 * leak, abs=leak)
    assert found[-1].median - found[0].median == pytest.approx(8 * leak, abs=1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc")
def test_nothing_is_lost_or_wrong_while_workers_die_and_versions_change() -> None:
    found = soak(40, kill=8, swap=4)
    seen = found["seen"]
    assert not [outcome for outcome in seen if "lost" in outcome or "wrong" in outcome], seen
    for kind in ("good: answered", "binary: answered", "stream: answered", "bad: refused"):
        assert seen.get(kind, 0) > 0, seen
    assert found["code"] == 0
    # MiB a minute. Periods of 8 s on a busy machine differ by a hundred, so that this shows only
    # what every request leaves; of versions, see tests/worker/test_versions.py, and the whole soak.
    assert found["trend"] < 1000, found["periods"]
