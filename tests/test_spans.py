"""Evaluations are spans below their requests', from the caller's trace to the worker."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import mcdrop
from mcdrop_service.backend import Backend
from mcdrop_service.job import as_it_is
from mcdrop_service.spans import Spans, Stamp, TracedBackend
from mcdrop_service.worker import Worker
from tests.models import random_pixels, save_random_classifier
from tests.serving import serving
from tests.worker.working import ask, run

PIXELS = random_pixels(6)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_random_classifier(folder)
    return folder


def test_every_answer_has_its_span_and_says_what_it_took(root: Path, tmp_path: Path) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    async def do(backend: Backend, _: Worker) -> None:
        with tracer.start_as_current_span("outer"):
            asks = [ask(PIXELS[:n], samples=40, id=f"r{n}") for n in (1, 3)]
            for one in asks:
                await backend.submit(one)
            assert [r.more async for r in backend.stream(asks[1].with_(id="s"))][-1] is False
            await backend.submit(ask(PIXELS, samples="auto", tolerance=0.005, id="auto"))
            await backend.submit(ask(PIXELS[:, :3], id="bad"))
        await backend.submit(ask(PIXELS[:1], id="alone"))

    began = time.time_ns()
    options = {"observers": [Spans(lambda: provider)], "prepare": Stamp(as_it_is)}
    run(root, do, tmp_path, backend=TracedBackend, **options)
    spans = [span for span in exporter.get_finished_spans() if span.name == "evaluate"]
    (outer,) = [span for span in exporter.get_finished_spans() if span.name == "outer"]
    assert outer.context is not None
    names = [about(span)["mcdrop.request_id"] for span in spans]
    assert names == ["r1", "r3", "s", "auto", "alone"]  # what was refused was not evaluated
    for span in spans:
        below = span.parent is not None and span.parent.span_id == outer.context.span_id
        assert below == (about(span)["mcdrop.request_id"] != "alone")
        assert span.start_time is not None
        assert span.end_time is not None
        assert began < span.start_time <= span.end_time < time.time_ns()
        assert (about(span)["mcdrop.model"], about(span)["mcdrop.version"]) == ("tiny", 1)
    assert [about(span)["mcdrop.rows"] for span in spans] == [1, 3, 3, 6, 1]
    expected = mcdrop.load(root / "tiny").predict(PIXELS, "auto", tolerance=0.005)
    assert expected.passes is not None
    passes = [about(span)["mcdrop.passes"] for span in spans]
    assert passes == [40, 120, 120, expected.passes.sum(), 40]
    assert about(spans[1])["mcdrop.batch_rows"] == 3


def about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Where spans are exported to, and those that have come."""
    found: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
                for scope in resource.scope_spans:
                    found.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as place:
        threading.Thread(target=place.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{place.server_port}/v1/traces", found
        place.shutdown()


@pytest.mark.slow
def test_a_trace_leads_from_the_caller_to_the_worker(
    root: Path, collector: tuple[str, list[Any]]
) -> None:
    endpoint, found = collector
    with serving(root, tracing=endpoint) as url:
        body = {"inputs": PIXELS.tolist()}
        headers = {"traceparent": PARENT, "x-request-id": "mine"}
        assert httpx.post(f"{url}/predict", json=body, headers=headers).status_code == 200
        deadline = time.monotonic() + 30
        mine: dict[str, Any] = {}
        while len(mine) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            mine = {s.name: s for s in found if s.trace_id.hex() == PARENT.split("-")[1]}
    request, evaluation = mine["POST /predict"], mine["evaluate"]
    assert request.parent_span_id.hex() == PARENT.split("-")[2]
    assert evaluation.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= evaluation.start_time_unix_nano
    assert evaluation.end_time_unix_nano <= request.end_time_unix_nano + 10**9
    said = {a.key: a.value.string_value or a.value.int_value for a in evaluation.attributes}
    assert said == {
        "mcdrop.request_id": "mine",
        "mcdrop.model": "tiny",
        "mcdrop.version": 1,
        "mcdrop.rows": 6,
        "mcdrop.passes": 6 * 40,
        "mcdrop.batch_rows": 6,
    }
