"""What a server has around its answers: who is let in, what is seen, and the further routes.

Knows the order of the layers. Refuses to know what each does.
"""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from mcdrop.errors import InputError, McdropError
from mcdrop_service import logs, metrics, reports, v2_repository, v2_routes
from mcdrop_service.ask import RefusedError
from mcdrop_service.backend import Backend
from mcdrop_service.catalog import Catalog
from mcdrop_service.faults import refusal
from mcdrop_service.feedback import Keeper, Ledger
from mcdrop_service.guard import Guard
from mcdrop_service.headers import SecureHeaders
from mcdrop_service.intake import Intake
from mcdrop_service.job import Job, Observer, as_it_is
from mcdrop_service.keys import Keyring, read_keys
from mcdrop_service.lane import Lane
from mcdrop_service.levels import AdaptiveLevels
from mcdrop_service.origins import SameOrigin
from mcdrop_service.settings import Settings
from mcdrop_service.spans import Spans, Stamp
from mcdrop_service.tally import AnswerTally, RequestTally
from mcdrop_service.tracing import Tracing, provider_of
from mcdrop_service.v2_errors import V2Errors
from mcdrop_service.watch import Watch
from mcdrop_service.windows import Windows

__all__ = ["equip", "observers_of", "preparer_of"]

_ANSWERED = frozenset({"/predict", "/predict/stream", "/health", "/health/live", "/health/ready"})
"""Paths that the gate answers, before a router has seen them."""


def observers_of(settings: Settings, folder: Path) -> list[Observer]:
    """Who is told in the workers of what they have answered."""
    found: list[Observer] = [AnswerTally(), Windows(folder, settings.drift_rows)]
    if settings.shadow:
        from mcdrop_service.shadow import Shadow  # evaluates networks: few servers need it

        found.append(Shadow(settings.repository, settings.shadow, metrics.count_difference))
    if settings.feedback is not None:
        found.append(Keeper(settings.feedback.resolve(), settings.feedback_rows))
    if settings.tracing is not None:
        found.append(Spans(provider_of(str(settings.tracing))))
    return found


def preparer_of(settings: Settings) -> Callable[[Job], Job]:
    """What workers do to a job before they answer it."""
    prepare: Callable[[Job], Job] = as_it_is
    if settings.feedback is not None and settings.adaptive is not None:
        prepare = AdaptiveLevels(Ledger(settings.feedback.resolve(), settings.adaptive))
    return prepare if settings.tracing is None else Stamp(prepare)


def equip(
    app: FastAPI, settings: Settings, backend: Backend, intake: Intake, folder: Path
) -> Lane | None:
    """Add routes and layers to ``app``, whose innermost layer is the gate.

    Returns:
        The short way around the layers, where they leave one: what is traced goes through all.

    Raises:
        InputError: keys cannot be read, or an extra is not installed.
    """
    catalog = Catalog(settings.repository, settings.pin)
    ledger = None
    if settings.feedback is not None:
        ledger = Ledger(settings.feedback.resolve(), settings.adaptive)
        ledger.read("", 1)  # a file that cannot be used stops the start
    elif settings.adaptive is not None:
        raise InputError("got `adaptive` without `feedback`: levels adapt to labels that come")
    windows = Windows(folder, settings.drift_rows)
    keys = read_keys([key.get_secret_value() for key in settings.keys], settings.keys_file)
    changes = bool(keys) or "repository" in settings.open
    app.include_router(v2_routes.router_of(catalog, backend, settings))
    app.include_router(
        v2_repository.router_of(catalog, backend, folder / "unloaded", changes=changes)
    )
    app.include_router(reports.router_of(catalog, windows, ledger, backend))
    for kind in (RefusedError, McdropError):
        app.add_exception_handler(kind, _refuse)
    return _cover(app, settings, backend, intake, Keyring(keys))


def _cover(
    app: FastAPI, settings: Settings, backend: Backend, intake: Intake, ring: Keyring
) -> Lane | None:
    """Put layers around the app, the innermost first."""
    app.add_middleware(Guard, ring=ring, doors=settings.open)
    app.add_middleware(SameOrigin, allowed=settings.cors)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
    app.add_middleware(SecureHeaders)
    app.add_middleware(V2Errors)
    if settings.tracing is not None:
        app.add_middleware(Tracing, make=provider_of(str(settings.tracing)))
    teller = logs.teller(settings.access)
    tally = RequestTally()
    onlookers = [tally.add, *([teller] if teller else [])]
    app.add_middleware(Watch, onlookers=onlookers, pending=tally.come, paths=_ANSWERED)
    if settings.tracing is not None:
        return None
    return Lane(intake, ring, backend, onlookers, tally.come)


async def _refuse(_request: Request, error: Exception) -> Response:
    reply = refusal(error)
    return Response(reply.body, reply.status, dict(reply.headers), reply.kind)
