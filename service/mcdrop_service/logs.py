"""Lines that the server logs: texts for people, or JSON objects for machines.

Knows how a line is written, and which requests are worth one. A line about a request has its id,
method, route, status, milliseconds and caller; never its body, its query or its key. Refuses to
know when something happens.
"""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from mcdrop_service.watch import Seen

__all__ = ["Form", "configure", "teller"]

Form = Literal["text", "json"]
_log = logging.getLogger("mcdrop_service.requests")
_PROBES = ("/health", "/v2/health")  # asked every second, and answered 503 as long as need be


def configure(form: Form) -> None:
    """Let this process, and those it starts by forking, log to standard error in this form."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_Json() if form == "json" else text)
    for name in ("mcdrop", "mcdrop_service", "uvicorn", "litserve"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
    for name in ("mcdrop", "mcdrop_service"):
        logging.getLogger(name).setLevel(logging.INFO)


def teller(which: Literal["all", "failed", "none"]) -> Callable[[Seen], None] | None:
    """What logs requests; None where none are logged."""
    if which == "none":
        return None
    everything = which == "all"

    def tell(seen: Seen) -> None:
        if everything or (seen.status >= 400 and not seen.route.startswith(_PROBES)):
            about = {
                "request_id": seen.id,
                "method": seen.method,
                "route": seen.route,
                "path": seen.path[:200],
                "status": seen.status,
                "milliseconds": round(seen.seconds * 1000, 3),
                "caller": seen.caller,
            }
            level = logging.ERROR if seen.status >= 500 and seen.status != 503 else logging.INFO
            # %r: a path may hold line ends, which must not make a line of their own
            said = "%s %r %d in %.1f ms, request %s"
            values = seen.method, seen.path[:200], seen.status, seen.seconds * 1000, seen.id
            _log.log(level, said, *values, extra={"about": about})

    return tell


class _Json(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write ``record``, and what its ``about`` says."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
