"""Every request that comes and every answer that goes, seen from outside. Pure ASGI.

Knows when a request came, what it asked for, and how it was answered; tells observers, each of
which does one thing with it (metrics, logs). Refuses to know what lies within, and changes one
thing only: an answer without ``x-request-id`` gets it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcdrop_service.gate import request_id
from mcdrop_service.guard import CALLER

__all__ = ["Onlooker", "Seen", "Watch", "tell"]

_log = logging.getLogger(__name__)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ID = b"x-request-id"


class Seen(NamedTuple):
    """A request and its answer.

    Attributes:
        id: of the request.
        method: as it came; "other" for those nobody knows.
        path: as it came.
        route: the path's pattern, one of a bounded number; "other" where there is none.
        status: of the answer; 499 where the client went away before it, 500 where there was none.
        seconds: from the request to the end of the answer.
        caller: name of the key; "" without one.
    """

    id: str
    method: str
    path: str
    route: str
    status: int
    seconds: float
    caller: str


Onlooker = Callable[[Seen], None]


def tell(onlookers: Sequence[Onlooker], seen: Seen) -> None:
    """Tell each of a request; what one raises is logged and goes no further."""
    for onlooker in onlookers:
        try:
            onlooker(seen)
        except Exception:
            _log.exception("request %s: an onlooker failed", seen.id)


class Watch:
    """ASGI middleware, the outermost.

    Args:
        app: what is watched.
        onlookers: told of each request when it has been answered.
        pending: told +1 when a request comes and -1 when it has been answered.
        paths: those that are answered before a router sees them.
    """

    def __init__(
        self,
        app: ASGIApp,
        onlookers: Sequence[Onlooker],
        pending: Callable[[int], None],
        paths: frozenset[str],
    ) -> None:
        self.app, self.onlookers, self.pending, self.paths = app, onlookers, pending, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, name = time.perf_counter(), 499, request_id(scope)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.get("headers", ())
                if _ID not in [key for key, _ in headers]:
                    message["headers"] = [*headers, (_ID, name.encode())]
            await send(message)

        self.pending(1)
        try:
            await self.app(scope, receive, watched)
        except Exception:
            status = 500
            raise
        finally:
            self.pending(-1)
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            caller = scope.get(CALLER, "")
            route = self._route(scope)
            seen = Seen(name, method, scope["path"], route, status, seconds, caller)
            tell(self.onlookers, seen)

    def _route(self, scope: Scope) -> str:
        if scope["path"] in self.paths:
            return str(scope["path"])
        return str(getattr(scope.get("route"), "path", "other"))
