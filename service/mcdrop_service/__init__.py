"""The service: a model repository behind HTTP, run by LitServe."""

from mcdrop_service.server import serve

__all__ = ["serve"]
