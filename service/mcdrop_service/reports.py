"""Routes for those who run the server: metrics, model cards, drift, and feedback.

Knows paths and bodies. Refuses to know how anything is counted, compared or kept.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from mcdrop import drift
from mcdrop.errors import RepositoryError
from mcdrop.model_card import markdown
from mcdrop_service import metrics
from mcdrop_service.ask import RefusedError
from mcdrop_service.assessment import assess, assess_targets, tell_level
from mcdrop_service.backend import Backend
from mcdrop_service.catalog import Catalog
from mcdrop_service.feedback import Ledger
from mcdrop_service.limits import MOST_ROWS
from mcdrop_service.served import served
from mcdrop_service.windows import Windows

__all__ = ["router_of"]

_MARKDOWN = "text/markdown"
_FEWEST = 20  # rows to compare: fewer say nothing
Name = Annotated[str, Path(description="name of the model")]
Version = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="the served one by default")]


class DriftReport(BaseModel):
    """How far the rows of late differ from the calibration rows, by their epistemic uncertainty."""

    model: str
    version: int
    rows: int = Field(
        description="rows of late that were answered by the calibration rows' own passes"
    )
    reference_rows: int = Field(description="calibration rows")
    statistic: float | None = Field(
        description=f"Kolmogorov-Smirnov distance, 0 to 1; null for less than {_FEWEST} rows"
    )
    p_value: float | None = Field(
        description="probability of such a distance if nothing has drifted"
    )
    higher: float | None = Field(
        description="probability that a row of late is more uncertain than a calibration row; .5 "
        "without drift"
    )


class Feedback(BaseModel):
    """The true labels of the rows of an earlier request."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(
        min_length=1, max_length=128, description="the answer's header `x-request-id`"
    )
    labels: list[str | float | dict[str, float] | None] = Field(
        min_length=1,
        max_length=MOST_ROWS,
        description="a class, a number, or a number for each target, one a row; null where it is "
        "not known",
    )


class Taken(BaseModel):
    """What became of labels."""

    taken: int = Field(description="rows that have got a label by this; the first one stays")


class FeedbackReport(BaseModel):
    """How right a version was on the last rows whose labels have come."""

    model: str
    version: int
    rows: int = Field(description="rows with labels, the last 10,000 at most")
    scores: dict[str, float] = Field(
        description="live scores; `coverage` is to be compared with `level`"
    )
    targets: dict[str, dict[str, float]] = Field(
        description="the same of each of several targets, in its own unit; empty for a single one"
    )
    adaptive: dict[str, float | None] | None = Field(
        description="adaptive conformal inference; null where it is off"
    )


def router_of(
    catalog: Catalog, windows: Windows, ledger: Ledger | None, backend: Backend
) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["Operation"])

    @router.get("/metrics", summary="Counts and distributions, for Prometheus")
    def expose() -> Response:
        page = metrics.expose(_drift_gauges(catalog, windows))
        return Response(page, media_type=metrics.KIND)

    @router.get(
        "/models/{model}/card",
        summary="Read a model's card: data, scores, calibration, limits, recipe",
        response_class=PlainTextResponse,
        responses={200: {"content": {_MARKDOWN: {"schema": {"type": "string"}}}}},
    )
    async def tell_card(model: Name, version: Version = None) -> Response:
        version = version or (await served(backend)).get(model)
        card = await asyncio.to_thread(catalog.card, model, version)
        return Response(markdown(card), media_type=_MARKDOWN)

    @router.get("/models/{model}/drift", summary="Whether rows of late are like calibration rows")
    async def tell_drift(model: Name, version: Version = None) -> DriftReport:
        version = version or (await served(backend)).get(model)
        found = await asyncio.to_thread(_compare, catalog, windows, model, version)
        return DriftReport(**found)

    @router.post("/feedback", summary="Give the true labels of an earlier request")
    def take(feedback: Feedback) -> Taken:
        return Taken(taken=_on(ledger).label(feedback.request_id, feedback.labels))

    @router.get("/models/{model}/feedback", summary="How right a model was of late")
    async def tell_feedback(model: Name, version: Version = None) -> FeedbackReport:
        version = version or (await served(backend)).get(model)
        return await asyncio.to_thread(_report, catalog, _on(ledger), model, version)

    return router


def _report(catalog: Catalog, base: Ledger, model: str, version: int | None) -> FeedbackReport:
    card = catalog.card(model, version)
    kept = base.read(card.name, card.version)
    target = card.recipe.calibration.level
    state = base.adaptive(card.name, card.version, target) if base.step else None
    return FeedbackReport(
        model=card.name,
        version=card.version,
        rows=len(kept.labels) if kept else 0,
        scores=assess(kept) if kept else {},
        targets=assess_targets(kept, card.targets) if kept else {},
        adaptive=tell_level(state) if state else None,
    )


def _on(ledger: Ledger | None) -> Ledger:
    if ledger is None:
        raise RefusedError(404, "feedback is off: start the server with the setting `feedback`")
    return ledger


def _compare(catalog: Catalog, windows: Windows, model: str, version: int | None) -> dict[str, Any]:
    card = catalog.card(model, version)
    reference = catalog.reference(model, version).epistemic
    live = windows.last(card.name, card.version)
    about = {"model": card.name, "version": card.version}
    if len(live) < _FEWEST or not len(reference):
        none = dict.fromkeys(("statistic", "p_value", "higher"))
        return about | none | {"rows": len(live), "reference_rows": len(reference)}
    return about | asdict(drift.compare(live, reference))


def _drift_gauges(catalog: Catalog, windows: Windows) -> Iterator[Metric]:
    about = {
        "statistic": "Distance of the epistemic uncertainty of late from calibration, 0 to 1.",
        "p_value": "Probability of such a distance if nothing has drifted.",
    }
    labels = ["model", "version"]
    gauges = {
        name: GaugeMetricFamily(f"mcdrop_drift_{name}", text, labels=labels)
        for name, text in about.items()
    }
    for model, version in windows.models():
        try:
            found = _compare(catalog, windows, model, version)
        except RepositoryError:
            continue  # it was removed meanwhile
        for name, gauge in gauges.items():
            if found[name] is not None:
                gauge.add_metric([model, str(version)], found[name])
    yield from gauges.values()
