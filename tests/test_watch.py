"""Requests are seen once, whole, whatever comes of them; logs and traces say what they should."""

import asyncio
import gzip
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mcdrop_service import logs, metrics, tally
from mcdrop_service.guard import Guard
from mcdrop_service.keys import Keyring, make, read_keys
from mcdrop_service.tracing import Tracing, provider_of
from mcdrop_service.watch import Seen, Watch

KEY, LINE = make("alice")


async def model(request: Request) -> JSONResponse:
    if request.path_params["name"] == "broken":
        raise RuntimeError("secret of the server")
    return JSONResponse({}, 422 if request.path_params["name"] == "bad" else 200)


class Log(list[Seen]):
    pending = 0
    most = 0

    def count(self, change: int) -> None:
        self.pending += change
        self.most = max(self.most, self.pending)


def watched(log: Log, app: Any = None) -> Watch:
    app = app or Starlette(routes=[Route("/models/{name}", model)])
    return Watch(app, [log.append], log.count, frozenset({"/predict"}))


def ask(app: Any, path: str, method: str = "GET", **request: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as c:
            return await c.request(method, path, **request)

    return asyncio.run(go())


def test_each_request_is_seen_with_its_route_and_id() -> None:
    log = Log()
    answer = ask(watched(log), "/models/tiny", headers={"X-Request-Id": "abc-1"})
    assert answer.headers.get_list("x-request-id") == ["abc-1"]
    (seen,) = log
    assert (seen.id, seen.route, seen.path) == ("abc-1", "/models/{name}", "/models/tiny")
    assert (seen.method, seen.status, seen.caller) == ("GET", 200, "")
    assert 0 < seen.seconds < 5
    assert (log.pending, log.most) == (0, 1)


def test_ids_are_made_where_none_or_none_usable_came() -> None:
    made = set()
    for given in (None, "", "a b", "x" * 129, "a\tb"):
        headers = {} if given is None else {"X-Request-Id": given}
        made.add(ask(watched(Log()), "/models/tiny", headers=headers).headers["x-request-id"])
    assert len(made) == 5
    assert all(name.isascii() and " " not in name for name in made)


def test_counts_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr(metrics, "count_requests", lambda *counted: written.append(counted))
    monkeypatch.setattr(metrics, "PENDING", SimpleNamespace(set=written.append))
    monkeypatch.setattr(tally, "_EVERY", 0.02)
    counts = tally.RequestTally()

    async def go() -> None:
        for status in (200, 200, 422):
            counts.come(1)
            counts.add(SEEN._replace(status=status))
        counts.come(-1)
        assert written == []
        await asyncio.sleep(0.1)
        counts.come(-1)
        await asyncio.sleep(0.1)

    asyncio.run(go())
    post = ("POST", "/predict")
    assert written == [2, (*post, 200, [0.0123] * 2), (*post, 422, [0.0123]), 1]


def test_labels_are_few_whatever_is_asked() -> None:
    log = Log()
    for i in range(20):
        ask(watched(log), f"/models/m{i}")
        ask(watched(log), f"/none/{i}", f"VERB{i}")
    assert {seen.route for seen in log} == {"/models/{name}", "other"}
    assert {seen.method for seen in log} == {"GET", "other"}


def test_failures_and_refusals_are_seen_too() -> None:
    log = Log()
    app = Starlette(routes=[Route("/models/{name}", model)])
    guarded = watched(log, Guard(app, Keyring(read_keys([LINE])), ()))
    ask(guarded, "/models/tiny")
    ask(guarded, "/models/tiny", headers={"X-API-Key": KEY})
    ask(guarded, "/models/broken", headers={"X-API-Key": KEY})
    assert [(seen.status, seen.caller) for seen in log] == [
        (401, ""),
        (200, "alice"),
        (500, "alice"),
    ]
    assert log.pending == 0


def test_a_client_that_goes_away_is_seen() -> None:
    log = Log()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def go() -> None:
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        task = asyncio.ensure_future(watched(log, endless)(scope, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        assert log.pending == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())
    assert [(seen.status, seen.route) for seen in log] == [(499, "/predict")]
    assert log.pending == 0


SEEN = Seen("id-1", "POST", "/predict\nERROR forged", "/predict", 422, 0.0123, "alice")


def test_json_lines_hold_what_machines_look_for(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        tell = logs.teller("failed")
        assert tell is not None
        tell(SEEN)
        tell(Seen("id-2", "GET", "/", "/", 200, 0.1, ""))
        tell(Seen("id-3", "GET", "/health", "/health", 503, 0.1, ""))
        log = logging.getLogger("mcdrop_service.worker")
        log.error("a request failed", exc_info=RuntimeError("no"))
        first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        quiet()
    assert first["request_id"] == "id-1"
    assert (first["route"], first["status"], first["caller"]) == ("/predict", 422, "alice")
    assert first["milliseconds"] == 12.3
    assert (first["level"], second["level"]) == ("info", "error")
    assert "RuntimeError: no" in second["exception"]
    assert first["time"].endswith("+00:00")


def test_text_lines_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    try:
        logs.teller("all")(SEEN)  # type: ignore[misc]
        (line,) = capsys.readouterr().err.splitlines()
    finally:
        quiet()
    assert r"POST '/predict\nERROR forged' 422 in 12.3 ms, request id-1" in line
    assert logs.teller("none") is None


def quiet() -> None:
    """Undo `logs.configure`."""
    for name in ("mcdrop", "mcdrop_service", "uvicorn", "litserve"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [], True
        log.setLevel(logging.NOTSET)


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_span_continues_the_callers_trace() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced = Tracing(Starlette(routes=[Route("/models/{name}", model)]), lambda: provider)
    ask(traced, "/models/bad", headers={"traceparent": PARENT, "X-Request-Id": "abc"})
    ask(traced, "/models/broken", headers={"traceparent": "nonsense"})
    first, second = exporter.get_finished_spans()
    assert first.name == "GET /models/{name}"
    assert format(first.context.trace_id, "032x") == PARENT.split("-")[1]
    assert first.parent is not None
    assert format(first.parent.span_id, "016x") == PARENT.split("-")[2]
    assert first.attributes is not None
    assert first.attributes["http.response.status_code"] == 422
    assert first.attributes["mcdrop.request_id"] == "abc"
    assert first.status.status_code is StatusCode.UNSET
    assert second.parent is None
    assert second.status.status_code is StatusCode.ERROR


def test_spans_are_sent_where_the_setting_says() -> None:
    came: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        make_provider = provider_of(f"http://127.0.0.1:{collector.server_port}/v1/traces")
        provider = make_provider()
        app = Starlette(routes=[Route("/models/{name}", model)])
        ask(Tracing(app, lambda: provider), "/models/tiny")
        provider.shutdown()
        collector.shutdown()
        thread.join()
    assert b"GET /models/{name}" in gzip_or_plain(came[0])


def gzip_or_plain(content: bytes) -> bytes:
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
