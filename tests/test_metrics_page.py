"""What is counted in several processes is summed, and Prometheus can read the page."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import Histogram
from prometheus_client.parser import text_string_to_metric_families

import mcdrop
from mcdrop_service import metrics, tally
from mcdrop_service.ask import Ask
from mcdrop_service.job import Job
from tests.models import SIZES, random_pixels, save_random_classifier, save_table_model

# Metrics are the process's: what is to be counted exactly is counted in one of its own.
PROGRAM = textwrap.dedent(
    """
    import multiprocessing, os, signal, sys
    from pathlib import Path
    from mcdrop_service import metrics
    import mcdrop
    from tests.test_metrics_page import jobs_of

    def work(root, times):
        jobs, found = jobs_of(root)
        for _ in range(times):
            metrics.count_answers("tiny", 1, len(jobs), [found])
        metrics.count_requests("POST", "/predict", 200, [0.003])
        metrics.PENDING.inc()
        if times == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        root = Path(sys.argv[1])
        for kind, times in (("fork", 1), ("fork", 1), ("spawn", 2)):
            process = multiprocessing.get_context(kind).Process(target=work, args=(root, times))
            process.start()
            process.join()
        metrics.RESTARTS.inc()
        metrics.count_requests("GET", "/models", 401, [0.5])
        sys.stdout.write(metrics.expose().decode())
    """
)


def jobs_of(root: Path) -> tuple[list[Job], mcdrop.predictions.ClassPredictions]:
    """Two jobs, of 2 rows and 1, and their answers."""
    predictor = mcdrop.load(root / "tiny")
    pixels = random_pixels(3)
    jobs = [
        Job(Ask(rows), predictor, predictor.card.preprocessing.encode(rows), 40)
        for rows in (pixels[:2], pixels[2:])
    ]
    return jobs, predictor.predict(pixels, 40, risk=0.5)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], float]:
    """Values by name and labels, in the order of their names, of four processes, one killed."""
    folder = tmp_path_factory.mktemp("metrics")
    save_random_classifier(folder)
    program = folder / "program.py"
    program.write_text(PROGRAM)
    root = Path(__file__).parent.parent
    told = subprocess.run(
        [sys.executable, program, folder],
        env={"PYTHONPATH": f"{root}:{root / 'service'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(told.stdout)
        for sample in family.samples
    }


def test_counts_of_all_processes_are_summed(page: dict[tuple[str, ...], float]) -> None:
    tiny = ("tiny", "1")
    assert page["mcdrop_inferences_total", *tiny] == 8  # 2 jobs, 4 evaluations
    assert page["mcdrop_rows_total", *tiny] == 12
    assert page["mcdrop_passes_total", *tiny] == 12 * 40
    assert page["mcdrop_batch_rows_sum", *tiny] == 12
    assert page["mcdrop_batch_rows_count", *tiny] == 4
    assert page["mcdrop_requests_total", "POST", "/predict", "200"] == 3
    assert page["mcdrop_requests_total", "GET", "/models", "401"] == 1
    assert page["mcdrop_request_seconds_count", "/predict"] == 3
    assert page["mcdrop_request_seconds_bucket", "0.005", "/predict"] == 3
    assert page["mcdrop_request_seconds_bucket", "0.002", "/predict"] == 0
    assert page["mcdrop_worker_restarts_total",] == 1


def test_uncertainties_are_distributions(
    page: dict[tuple[str, ...], float], tmp_path: Path
) -> None:
    save_random_classifier(tmp_path)
    _, found = jobs_of(tmp_path)
    for name in ("confidence", "epistemic", "novelty"):
        values = getattr(found, name)
        assert page[f"mcdrop_{name}_count", "tiny", "1"] == 12
        assert page[f"mcdrop_{name}_sum", "tiny", "1"] == pytest.approx(4 * values.sum())
    below = int((found.novelty <= 0.5).sum())
    assert page["mcdrop_novelty_bucket", "0.5", "tiny", "1"] == 4 * below
    assert page["mcdrop_abstained_rows_total", "tiny", "1"] == 4 * found.abstain.sum()


def test_dashboards_made_for_triton_find_their_names(page: dict[tuple[str, ...], float]) -> None:
    tiny = ("tiny", "1")
    assert page["nv_inference_request_success", *tiny] == 8
    assert page["nv_inference_count", *tiny] == 12
    assert page["nv_inference_exec_count", *tiny] == 4


def test_many_rows_at_once_are_counted_as_one_by_one(rng: np.random.Generator) -> None:
    bounds = (0.1, 0.2, 0.5, 1.0)
    values = np.concatenate([rng.random(100) * 1.2, bounds])
    at_once = metrics._Rows("at_once", "", registry=None, buckets=bounds)
    singly = Histogram("singly", "", registry=None, buckets=bounds)
    at_once.observe_rows(values)
    for value in values:
        singly.observe(value)

    def read(histogram: Histogram) -> list[float]:
        return [sample.value for family in histogram.collect() for sample in family.samples][:7]

    assert read(at_once) == pytest.approx(read(singly))
    assert read(at_once)[4] == len(values)


def test_evaluations_are_written_down_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_random_classifier(tmp_path)
    jobs, found = jobs_of(tmp_path)
    written: list[Any] = []
    monkeypatch.setattr(metrics, "count_answers", lambda *counted: written.append(counted))
    monkeypatch.setattr(tally, "_EVERY", 0.02)
    answers = tally.AnswerTally()

    async def go() -> None:
        answers(jobs, found)
        answers(jobs[:1], found.rows(slice(0, 2)))
        assert written == []
        await asyncio.sleep(0.1)
        answers(jobs, found)
        await asyncio.sleep(0.1)

    asyncio.run(go())
    first, second = written
    assert first[:3] == ("tiny", 1, 3)
    assert [len(part) for part in first[3]] == [3, 2]
    assert second == ("tiny", 1, 2, (found,))


def test_regressions_are_counted_in_the_spread_of_their_target(tmp_path: Path) -> None:
    root = tmp_path / "models"
    noise = {"noise": [0.25, 4.0], "target_variance": [9.0, 16.0]}
    save_table_model(root, "sizes", SIZES, targets=("mass", "price"), calibration=noise)
    found = mcdrop.load(root / "sizes").predict([[1.0, 2.0], [3.0, 4.0]])
    metrics.count_answers("sizes", 1, 1, [found, found])
    confidence = metrics._confidence.labels("sizes", "1")
    assert confidence._sum.get() == pytest.approx(2 * found.confidence.mean(axis=1).sum())
