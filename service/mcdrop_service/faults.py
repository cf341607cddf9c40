"""How what went wrong is told: a status, and ``{"detail": message}``.

Knows which exception is whose fault. A message names what came and what was wanted; it never
repeats a request's values at length, and never shows the server's insides.
"""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from mcdrop.errors import InputError, RepositoryError
from mcdrop_service.ask import RefusedError, Reply

__all__ = ["install", "invalid_request", "refusal"]

_log = logging.getLogger(__name__)


def refusal(error: Exception) -> Reply:
    """What to reply where an ask was not answered because of ``error``."""
    if isinstance(error, RefusedError):
        return error.reply
    if isinstance(error, InputError):
        return RefusedError(422, str(error)).reply
    if isinstance(error, RepositoryError):
        return RefusedError(404, str(error)).reply
    _log.error("a request failed", exc_info=error)
    return RefusedError(500, "the model failed on this request: see the server's log").reply


def install(app: FastAPI) -> None:
    """Answer invalid bodies, and failures nobody foresaw, in the one shape."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [fault | {"loc": fault["loc"][1:]} for fault in error.errors()]
        refused = invalid_request(faults)
        return JSONResponse({"detail": str(refused)}, refused.status)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "the server failed: see its log"}, 500)


def invalid_request(faults: Sequence[Any]) -> RefusedError:
    """From pydantic's faults to one sentence about the most specific.

    It does not hold what came: that may be huge, or NaN.
    """
    fault = max(faults, key=lambda fault: len(fault["loc"]))
    kind, place = fault["type"], fault["loc"]
    if kind == "json_invalid":
        return RefusedError(400, f"the body is not JSON: {fault['ctx']['error']}")
    if not place and kind != "value_error":
        detail = 'the body must be a JSON object, {"inputs": [[...]]} or {"records": [{...}]}'
        return RefusedError(422, detail)
    message = fault["msg"].removeprefix("Value error, ")
    # Between the field and the indices, pydantic names the branches of its unions.
    where = "".join(f"[{p}]" if isinstance(p, int) else p * (i == 0) for i, p in enumerate(place))
    text = f"{where}: {message[0].lower()}{message[1:]}" if where else message
    return RefusedError(422, text)
