"""Headers that every answer carries, for the browsers among its readers. Pure ASGI.

Knows what a browser must not do with an answer. Refuses to know what the answer is.
"""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["SECURE", "SecureHeaders"]

_COMMON = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_OWN_POLICY = (
    b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# The documentation page that FastAPI writes takes its script from there.
_DOCS_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; worker-src 'self' blob:; "
    b"img-src 'self' data: https://fastapi.tiangolo.com; object-src 'none'; base-uri 'none'; "
    b"frame-ancestors 'none'"
)
_POLICY = b"content-security-policy"
SECURE = (*_COMMON, (_POLICY, _OWN_POLICY))
"""Those of every answer but the documentation's pages."""

_DOCS = (*_COMMON, (_POLICY, _DOCS_POLICY))
_NAMES = frozenset(name for name, _ in SECURE)


class SecureHeaders:
    """ASGI middleware that adds them, where the application has not said otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        further: Sequence[tuple[bytes, bytes]]
        further = _DOCS if scope["path"].startswith(("/docs", "/redoc")) else SECURE

        async def dressed(message: Message) -> None:
            nonlocal further
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                there = [name for name, _ in headers]
                if not _NAMES.isdisjoint(there):
                    further = [pair for pair in further if pair[0] not in there]
                message["headers"] = [*headers, *further]
            await send(message)

        await self.app(scope, receive, dressed)
