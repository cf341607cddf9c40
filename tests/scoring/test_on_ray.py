"""Scoring on a Ray cluster of two nodes, one of which is killed half way."""

from pathlib import Path

import numpy as np
import pytest

import mcdrop
from mcdrop.errors import InputError
from mcdrop.scoring import score
from mcdrop.scoring.rows import CHUNK
from tests.models import random_pixels, save_random_classifier

CHUNKS = 10


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes of one processor each on this machine; a dead one is noticed within seconds."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    quiet = pytest.MonkeyPatch()
    quiet.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "object_store_memory": 100_000_000}
    system = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}
    head = node | {"include_dashboard": False, "_system_config": system}
    for attempt in range(3):  # Ray gives a node 30 s to start, which a busy machine may exceed
        try:
            cluster = Cluster(initialize_head=True, head_node_args=dict(head))
            break
        except Exception:
            if attempt == 2:
                raise
    second = cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()
    quiet.undo()


@pytest.mark.slow
def test_a_node_that_dies_half_way_changes_nothing(cluster, tmp_path) -> None:
    cluster, second = cluster
    predictor = mcdrop.load(save_random_classifier(tmp_path / "models"))
    x = random_pixels((CHUNKS - 1) * CHUNK + 500).astype(np.float32)
    x[5 * CHUNK + 7, 3] = np.nan
    source = tmp_path / "rows.npy"
    np.save(source, x)
    killed = []

    def progress(done: int, total: int | None) -> None:
        if done and not killed:
            killed.append(done)
            cluster.remove_node(second, allow_graceful=False)

    outputs = [tmp_path / "ray.parquet", tmp_path / "here.parquet"]
    options = {"samples": 20, "on_error": "skip", "keep": ["_row"]}
    summary = score(
        predictor, source, outputs[0], on="ray", workers=2, progress=progress, **options
    )
    assert 0 < killed[0] < summary.rows
    assert (summary.rows, summary.rejected) == (len(x) - 1, 1)
    score(predictor, source, outputs[1], **options)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    sides = [Path(str(output).replace(".parquet", ".rejected.jsonl")) for output in outputs]
    assert sides[0].read_bytes() == sides[1].read_bytes()
    with pytest.raises(InputError, match=r"row \d+ .*column 3: NaN"):
        score(predictor, source, tmp_path / "stopped.csv", samples=1, on="ray", workers=3)
