"""What the server counts, and the page at ``/metrics`` that Prometheus reads.

API processes count requests, workers count what they evaluate, the main process counts workers
it had to replace. Each writes to a file of its own in one folder, from which any of them can sum
up (prometheus_client's multiprocess mode); a process that is killed leaves its counts behind.
Knows names, units and buckets. Refuses to know when something is to be counted.
"""

import atexit
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcdrop.calibration import row_epistemic
from mcdrop.predictions import ClassPredictions, Predictions
from mcdrop_service import scratch

if TYPE_CHECKING:  # API processes import no PyTorch
    from mcdrop_service.shadow import Difference

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def _share() -> None:
    """Make the folder, in the first process; those it starts inherit the name."""
    if _FOLDER in os.environ:
        return
    folder, maker = scratch.make("metrics-"), os.getpid()
    os.environ[_FOLDER] = str(folder)

    def remove() -> None:
        if os.getpid() == maker:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


_share()  # before the import: prometheus_client looks once, there and then

from prometheus_client import (  # noqa: E402
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import Metric  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402
from prometheus_client.registry import Collector  # noqa: E402

__all__ = [
    "KIND",
    "PENDING",
    "RESTARTS",
    "count_answers",
    "count_difference",
    "count_failure",
    "count_requests",
    "expose",
]

KIND = CONTENT_TYPE_LATEST
"""Content type of what `expose` gives."""

_MODEL = ("model", "version")
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_SHARES = tuple(round(0.05 * i, 2) for i in range(1, 21))
_NATS = tuple(float(f"{10**e:.2g}") for e in np.arange(-6, 1.5, 0.5))


class _Rows(Histogram):
    """A histogram that takes a value for each of many rows at once."""

    def observe_rows(self, values: NDArray[np.float64]) -> None:
        """Observe every one of (B,) values."""
        places = np.searchsorted(self._upper_bounds, values)  # the first bound not below
        for place, rows in enumerate(np.bincount(places).tolist()):
            if rows:
                self._buckets[place].inc(rows)
        self._sum.inc(float(values.sum()))


_requests = Counter(
    "mcdrop_requests", "Requests answered, by status.", ("method", "route", "status")
)
_seconds = _Rows(
    "mcdrop_request_seconds",
    "From a request's arrival to its answer.",
    ("route",),
    buckets=_SECONDS,
)
PENDING = Gauge(
    "mcdrop_pending_requests", "Requests not answered yet.", multiprocess_mode="livesum"
)
RESTARTS = Counter("mcdrop_worker_restarts", "Workers that died and were replaced.")
_inferences = Counter("mcdrop_inferences", "Requests answered by a model.", _MODEL)
_rows = Counter("mcdrop_rows", "Rows answered.", _MODEL)
_passes = Counter("mcdrop_passes", "Rows times passes evaluated.", _MODEL)
_abstained = Counter("mcdrop_abstained_rows", "Rows answered with `abstain`.", _MODEL)
_failures = Counter(
    "mcdrop_failures",
    "Requests that a worker could not answer: for their input, or because no such model is there, "
    "or because the model failed.",
    (*_MODEL, "kind"),
)
_batches = _Rows("mcdrop_batch_rows", "Rows laid out together.", _MODEL, buckets=_SIZES)
_confidence = _Rows("mcdrop_confidence", "Confidence of each row.", _MODEL, buckets=_SHARES)
_epistemic = _Rows(
    "mcdrop_epistemic",
    "Epistemic uncertainty of each row: nats, or share of the training target's variance.",
    _MODEL,
    buckets=_NATS,
)
_novelty = _Rows(
    "mcdrop_novelty",
    "Share of calibration rows less uncertain than a row.",
    _MODEL,
    buckets=_SHARES,
)

_SHADOWED = (*_MODEL, "shadow")
_shadowed = Counter("mcdrop_shadow_rows", "Rows that a shadow answered too.", _SHADOWED)
_disagreed = Counter(
    "mcdrop_shadow_disagreements", "Rows whose class a shadow sees otherwise.", _SHADOWED
)
_distance = _Rows(
    "mcdrop_shadow_distance",
    "Total variation between a shadow's class probabilities and those given; of values, the "
    "difference as a share of the interval.",
    _SHADOWED,
    buckets=_SHARES,
)


def count_requests(method: str, route: str, status: int, seconds: Sequence[float]) -> None:
    """Count requests that were answered, each in so many seconds."""
    _requests.labels(method, route, str(status)).inc(len(seconds))
    _seconds.labels(route).observe_rows(np.array(seconds))


def count_answers(model: str, version: int, requests: int, found: Sequence[Predictions]) -> None:
    """Count the answers of some evaluations, to so many requests of one version."""
    labels, sizes = (model, str(version)), np.array([len(part) for part in found])
    confidence = [part.confidence.reshape(len(part), -1).mean(axis=1) for part in found]
    _inferences.labels(*labels).inc(requests)
    _rows.labels(*labels).inc(int(sizes.sum()))
    _passes.labels(*labels).inc(sum(len(part) * part.samples for part in found))
    _batches.labels(*labels).observe_rows(sizes)
    _confidence.labels(*labels).observe_rows(np.concatenate(confidence))
    _epistemic.labels(*labels).observe_rows(np.concatenate([row_epistemic(p) for p in found]))
    _novelty.labels(*labels).observe_rows(np.concatenate([part.novelty for part in found]))
    abstained = [part.abstain.sum() for part in found if isinstance(part, ClassPredictions)]
    if abstained:
        _abstained.labels(*labels).inc(int(sum(abstained)))


def count_failure(model: str, version: str, status: int) -> None:
    """Count a request that is answered with a status above 400; the model is "" if not known."""
    kind = "model" if status >= 500 else "absent" if status == 404 else "input"
    _failures.labels(model, version, kind).inc()


def count_difference(difference: "Difference") -> None:
    """Count how a shadow's answers differ from those that were given."""
    labels = difference.model, str(difference.version), str(difference.shadow)
    _shadowed.labels(*labels).inc(len(difference.distance))
    _disagreed.labels(*labels).inc(int(difference.disagrees.sum()))
    _distance.labels(*labels).observe_rows(difference.distance)


def expose(further: Iterable[Metric] = ()) -> bytes:
    """The page: the sums over all processes, ``further`` metrics, and Triton's names for some."""
    summed = CollectorRegistry(auto_describe=False)
    MultiProcessCollector(summed)  # type: ignore[no-untyped-call]
    own = list(summed.collect())
    page = CollectorRegistry(auto_describe=False)
    page.register(_Given([*own, *further, *_as_triton(own)]))
    return generate_latest(page)


class _Given(Collector):
    """Metrics that have been collected already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Those metrics."""
        return iter(self._metrics)


_TRITON = {
    "mcdrop_inferences_total": (
        "nv_inference_request_success",
        "Number of successful inference requests",
    ),
    "mcdrop_failures_total": (
        "nv_inference_request_failure",
        "Number of failed inference requests",
    ),
    "mcdrop_rows_total": ("nv_inference_count", "Number of inferences performed"),
    "mcdrop_batch_rows_count": ("nv_inference_exec_count", "Number of model executions performed"),
}


def _as_triton(own: Iterable[Metric]) -> Iterator[Metric]:
    """The names by which dashboards made for Triton know them."""
    for metric in own:
        for name, (theirs, about) in _TRITON.items():
            samples = [sample for sample in metric.samples if sample.name == name]
            if samples:
                # Triton's counters lack the ending that the type "counter" would ask for.
                found = Metric(theirs, about, "unknown")
                for sample in samples:
                    found.add_sample(theirs, sample.labels, sample.value)
                yield found
