"""The repository extension of the Open Inference Protocol v2: what is served, and what is not.

Knows paths, and what workers say they serve. Refuses to know how a model is loaded (``shelf``).
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from mcdrop_service.ask import RefusedError
from mcdrop_service.backend import Backend
from mcdrop_service.catalog import Catalog
from mcdrop_service.marks import unloaded

__all__ = ["Name", "Version", "is_served", "router_of"]

Name = Annotated[str, InPath(description="name of the model")]
Version = Annotated[int, InPath(ge=1, le=2**31 - 1, description="version of the model")]
_CLOSED = (
    "loading and unloading is off where nobody needs a key: give the server keys, or open "
    "`repository` by its setting `open`"
)
States = Sequence[dict[str, Any]]
"""What each worker says: `mcdrop_service.shelf.State`."""


class Listed(BaseModel):
    """A version in the repository."""

    name: str
    version: str
    state: str = Field(description="READY, or UNAVAILABLE for a reason")
    reason: str


class IndexRequest(BaseModel):
    """What to list."""

    ready: bool = Field(False, description="whether to list only what can be asked")


class ChangeRequest(BaseModel):
    """Parameters of a load or unload; there are none that change anything here."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, bool] = Field({}, description="`unload_dependents`: there are none")


class Nothing(BaseModel):
    """All that there is to say."""


def router_of(catalog: Catalog, backend: Backend, marks: Path, *, changes: bool) -> APIRouter:
    """The routes below ``/v2/repository``.

    Args:
        catalog: what there is.
        backend: the way to the workers.
        marks: folder of the names that are not to be served; the workers look there.
        changes: whether models may be loaded and unloaded.
    """
    # The protocol's clients send JSON without saying so.
    router = APIRouter(
        prefix="/v2/repository", tags=["Open Inference Protocol v2"], strict_content_type=False
    )

    @router.post("/index", summary="List every version")
    async def index(wanted: IndexRequest | None = None) -> list[Listed]:
        states = await backend.look()
        there = await asyncio.to_thread(catalog.all)
        found = [_listed(states, name, version) for name, version in there]
        only_ready = wanted is not None and wanted.ready
        return [entry for entry in found if entry.state == "READY" or not only_ready]

    @router.post("/models/{model}/load", summary="Serve a model, its latest version above all")
    async def load(model: Name, _change: ChangeRequest | None = None) -> Nothing:
        await _mark(model, yes=False)
        if not is_served(await backend.look(), model, None):
            raise RefusedError(400, f"model {model!r} cannot be loaded: see the server's log")
        return Nothing()

    @router.post("/models/{model}/unload", summary="Serve a model no more")
    async def unload(model: Name, _change: ChangeRequest | None = None) -> Nothing:
        await _mark(model, yes=True)
        await backend.look()
        return Nothing()

    async def _mark(model: str, *, yes: bool) -> None:
        if not changes:
            raise RefusedError(403, _CLOSED)
        await asyncio.to_thread(catalog.card, model)  # that its name is one
        await asyncio.to_thread(unloaded, marks, model, yes=yes)

    return router


def is_served(states: States, model: str, version: int | None) -> bool:
    """Whether every worker that there is would answer for a version, or for the model at all."""
    return bool(states) and all(
        model in state["served"] and [model, version] not in state["broken"] for state in states
    )


def _listed(states: States, name: str, version: int) -> Listed:
    if is_served(states, name, version):
        return Listed(name=name, version=str(version), state="READY", reason="")
    broken = any([name, version] in state["broken"] for state in states)
    reason = "cannot be loaded: see the server's log" if broken else "unloaded"
    return Listed(name=name, version=str(version), state="UNAVAILABLE", reason=reason)
