"""OpenTelemetry spans of requests, where an endpoint is set (extra ``tracing``). Pure ASGI.

A caller's W3C ``traceparent`` is honored: the span is a child of the caller's. Knows the names
that OpenTelemetry's conventions give to what a span says. Refuses to know what is traced.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

import mcdrop
from mcdrop.errors import InputError
from mcdrop_service.gate import request_id
from mcdrop_service.guard import CALLER

__all__ = ["Tracing", "provider_of"]

_EVERY = 1000  # milliseconds between two exports; what is not exported dies with its process


def provider_of(endpoint: str) -> Callable[[], Any]:
    """What makes the tracer provider of a process: its threads do not survive a fork.

    Raises:
        InputError: the extra is not installed.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise InputError(
            "got a tracing endpoint without OpenTelemetry: pip install 'mcdrop[tracing]'"
        ) from None
    return partial(_make_provider, endpoint)


def _make_provider(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = {"service.name": "mcdrop", "service.version": mcdrop.__version__}
    provider = TracerProvider(resource=Resource.create(about))
    exporter = OTLPSpanExporter(endpoint=endpoint)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY))
    return provider


class Tracing:
    """ASGI middleware: a server span around each request.

    Args:
        app: what is traced.
        make: gives this process's tracer provider, once a request has come.
    """

    def __init__(self, app: ASGIApp, make: Callable[[], Any]) -> None:
        self.app = app
        self._make = make
        self._tracer: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode

        self._tracer = self._tracer or self._make().get_tracer("mcdrop")
        attributes = {
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "mcdrop.request_id": request_id(scope),
        }
        with self._tracer.start_as_current_span(
            scope["method"], _parent(scope), SpanKind.SERVER, attributes
        ) as span:

            async def traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self.app(scope, receive, traced)
            route = getattr(scope.get("route"), "path", scope["path"])
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("enduser.id", scope.get(CALLER, ""))


def _parent(scope: Scope) -> Any:
    """The caller's context, from ``traceparent`` and ``tracestate``."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }
    return TraceContextTextMapPropagator().extract(carrier)
