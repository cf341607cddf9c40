"""How what went wrong is told: a status, and ``{"detail": message}``.

Knows which exception is whose fault. A message names what came and what was wanted; it never
repeats a request's values at length, and never shows the server's insides.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from mcdrop.errors import InputError, RepositoryError

__all__ = ["install", "told"]

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def told(step: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let ``step`` raise nothing but ``HTTPException``, which travels between processes.

    LitServe pickles what a worker raises, and a worker that raises what cannot be pickled dies.
    """

    @functools.wraps(step)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return step(*args, **kwargs)
        except HTTPException:
            raise
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        except RepositoryError as error:
            raise HTTPException(404, str(error)) from None
        except Exception:
            _log.exception("a request failed")
            raise HTTPException(
                500, "the model failed on this request: see the server's log"
            ) from None

    return guarded


def install(app: FastAPI) -> None:
    """Answer invalid bodies, and failures nobody foresaw, in the one shape."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = error.errors()
        status = 400 if faults[0]["type"] == "json_invalid" else 422
        return JSONResponse({"detail": _describe(faults)}, status)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "the server failed: see its log"}, 500)


def _describe(faults: Sequence[Any]) -> str:
    """One sentence for the most specific fault, without what came: it may be huge, or NaN."""
    fault = max(faults, key=lambda fault: len(fault["loc"]))
    kind, place = fault["type"], fault["loc"][1:]
    if kind == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']} at character {place[0]}"
    if not place and kind != "value_error":
        return 'the body must be a JSON object, {"inputs": [[...]]} or {"records": [{...}]}'
    message = fault["msg"].removeprefix("Value error, ")
    where = "".join(f"[{p}]" if isinstance(p, int) else f"{p}" for p in place if "[" not in str(p))
    return f"{where}: {message[0].lower()}{message[1:]}" if where else message
