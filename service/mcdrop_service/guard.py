"""Who is let in, asked before anything else of a request is looked at. Pure ASGI.

Knows the header a key comes in and the paths that need none. Refuses to know keys' digests
(``keys``) and what lies behind: it covers every route, those not thought of yet included.
"""

from collections.abc import Collection, Mapping, Sequence
from math import ceil
from types import MappingProxyType

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mcdrop_service.ask import RefusedError
from mcdrop_service.keys import Keyring

__all__ = ["CALLER", "Guard", "admit"]

CALLER = "mcdrop.caller"
"""Where a request's scope names the key it came with."""

_DOORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "health": ("/health", "/health/", "/v2/health/"),
        "docs": ("/docs", "/redoc", "/openapi.json"),
        "page": ("/", "/static/"),
        "metrics": ("/metrics",),
        "repository": ("/v2/repository/models/",),
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
        try:
            scope[CALLER] = admit(self.ring, scope["headers"])
        except RefusedError as refused:
            told = JSONResponse({"detail": str(refused)}, refused.status, dict(refused.headers))
            await told(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._below)


def admit(ring: Keyring, headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The caller's name; "" where there are no keys.

    Raises:
        RefusedError: 401 without a key of the ring's, 429 where the key asks too often.
    """
    if not ring.keys:
        return ""
    key = _key(headers)
    index = None if key is None else ring.find(key)
    if index is None:
        came = "no key" if key is None else "an unknown key"
        detail = f"got {came}, wanted one in the header X-API-Key or Authorization: Bearer"
        raise RefusedError(401, detail, ("www-authenticate", "Bearer"))
    wait = ring.wait(index)
    if wait:
        detail = f"this key may ask {ring.keys[index].rate:g} times a second: wait a while"
        raise RefusedError(429, detail, ("retry-after", str(ceil(wait))))
    return ring.keys[index].name


def _key(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The one key that a request brings; None for none, and for more than one."""
    found = [value for name, value in headers if name == b"x-api-key"]
    for name, value in headers:
        scheme, _, rest = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            found.append(rest.strip())
    return found[0] if len(found) == 1 else None
