"""The service: a model repository behind HTTP, run by LitServe."""

from typing import TYPE_CHECKING, Any

from mcdrop.later import staying

if TYPE_CHECKING:
    from mcdrop_service.server import serve

__all__ = ["serve"]


def __getattr__(name: str) -> Any:
    """Import the server when it is asked for: a key is made without it."""
    if name == "serve":
        with staying():
            from mcdrop_service.server import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
