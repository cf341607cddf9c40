"""Who is let in, asked before anything else of a request is looked at. Pure ASGI.

Knows the header a key comes in and the paths that need none. Refuses to know keys' digests
(``keys``) and what lies behind: it covers every route, those not thought of yet included.
"""

from collections.abc import Collection, Mapping
from math import ceil
from types import MappingProxyType

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mcdrop_service.keys import Keyring

__all__ = ["CALLER", "Guard"]

CALLER = "mcdrop.caller"
"""Where a request's scope names the key it came with."""

_DOORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "health": ("/health", "/health/", "/v2/health/"),
        "docs": ("/docs", "/redoc", "/openapi.json"),
        "page": ("/", "/static/"),
        "metrics": ("/metrics",),
    }
)
"""Paths behind each door; one that ends in "/" stands for all below it, "/" for itself."""


class Guard:
    """ASGI middleware: every request brings a key, but for those to an open door.

    Args:
        app: what is guarded.
        ring: the keys; with none, everyone is let in.
        doors: what needs no key.
    """

    def __init__(self, app: ASGIApp, ring: Keyring, doors: Collection[str]) -> None:
        self.app = app
        self.ring = ring
        paths = [path for door in doors for path in _DOORS[door]]
        self._exact = frozenset(paths)
        self._below = tuple(path for path in paths if path.endswith("/") and path != "/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http" or not self.ring.keys or self._is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        key = _key(scope)
        index = None if key is None else self.ring.find(key)
        if index is None:
            came = "no key" if key is None else "an unknown key"
            detail = f"got {came}, wanted one in the header X-API-Key or Authorization: Bearer"
            answer = JSONResponse({"detail": detail}, 401, {"www-authenticate": "Bearer"})
            await answer(scope, receive, send)
            return
        wait = self.ring.wait(index)
        if wait:
            detail = f"this key may ask {self.ring.keys[index].rate:g} times a second: wait a while"
            answer = JSONResponse({"detail": detail}, 429, {"retry-after": str(ceil(wait))})
            await answer(scope, receive, send)
            return
        scope[CALLER] = self.ring.keys[index].name
        await self.app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._below)


def _key(scope: Scope) -> bytes | None:
    """The one key that a request brings; None for none, and for more than one."""
    found = [value for name, value in scope["headers"] if name == b"x-api-key"]
    for name, value in scope["headers"]:
        scheme, _, rest = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            found.append(rest.strip())
    return found[0] if len(found) == 1 else None
