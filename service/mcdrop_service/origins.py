"""Refuses what pages of other origins would do through a reader's browser. Pure ASGI.

A browser sends plain POSTs across origins without asking, and hides the answer only: by then a
model would be unloaded. Knows the headers by which browsers say whose page a request comes from,
which scripts cannot forge and other programs do not send. Refuses to know what a request does.
"""

from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["SameOrigin"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SameOrigin:
    """ASGI middleware: a request that changes or asks anything comes from no other origin's page.

    Args:
        app: what is guarded.
        allowed: origins whose pages may ask all the same; "*" for all.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app = app
        self.allowed = frozenset(origin.encode() for origin in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http" or scope["method"] in _SAFE or self._may(scope):
            await self.app(scope, receive, send)
            return
        detail = (
            "got a request of another origin's page: the setting `cors` names those that may ask"
        )
        await JSONResponse({"detail": detail}, 403)(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        origin: bytes | None = headers.get(b"origin")
        if b"*" in self.allowed or origin in self.allowed:
            return True
        site = headers.get(b"sec-fetch-site")  # to addresses without TLS, sent to localhost only
        if site is not None:
            return site in (b"same-origin", b"none")
        return origin is None or origin.partition(b"://")[2] == headers.get(b"host")
