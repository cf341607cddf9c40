"""The Open Inference Protocol v2 over HTTP: its routes.

Knows paths, headers and which part answers them. Refuses to know tensors (``v2``, ``v2_tensors``)
and how rows are answered.
"""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

import mcdrop
from mcdrop_service.ask import JSON, RefusedError
from mcdrop_service.backend import Backend
from mcdrop_service.bodies import inflate
from mcdrop_service.catalog import Catalog
from mcdrop_service.gate import request_id
from mcdrop_service.limits import INLINE_BYTES
from mcdrop_service.v2 import InferRequest, read_infer
from mcdrop_service.v2_tensors import describe

__all__ = ["router_of"]

_EXTENSIONS = ["binary_tensor_data", "model_repository", "model_repository(unload_dependents)"]
_VERSION = "/models/{model}/versions/{version}"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": InferRequest.model_json_schema()},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
Name = Annotated[str, Path(description="name of the model")]
Version = Annotated[int, Path(ge=1, le=2**31 - 1, description="version of the model")]


class Tensor(BaseModel):
    """A tensor that a model takes or gives."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1 stands for the rows")


class Metadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    parameters: dict[str, Any]


class Listed(BaseModel):
    """A version in the repository."""

    name: str
    version: str
    state: str
    reason: str


class IndexRequest(BaseModel):
    """What to list."""

    ready: bool = Field(False, description="whether to list only what can be asked")


def router_of(catalog: Catalog, backend: Backend, deadline: float) -> APIRouter:
    """The routes below ``/v2``."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])

    @router.get("", summary="Name the server and its extensions")
    async def server() -> dict[str, Any]:
        return {"name": "mcdrop", "version": mcdrop.__version__, "extensions": _EXTENSIONS}

    @router.get("/health/live", summary="Say that the server runs")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/health/ready", summary="Whether requests would be answered")
    async def ready() -> dict[str, bool]:
        if not backend.ready:
            raise RefusedError(503, "no worker is ready")
        return {"ready": True}

    @router.get(_VERSION, summary="What a version takes and gives")
    @router.get("/models/{model}", summary="What a model takes and gives")
    def metadata(model: Name, version: Version | None = None) -> Metadata:
        card = catalog.card(model, version)
        return Metadata.model_validate(describe(card, catalog.versions(model)))

    @router.get(f"{_VERSION}/ready", summary="Whether a version would answer")
    @router.get("/models/{model}/ready", summary="Whether a model would answer")
    def model_ready(model: Name, version: Version | None = None) -> dict[str, bool]:
        catalog.card(model, version)
        if not backend.ready:
            raise RefusedError(503, "no worker is ready")
        return {"ready": True}

    @router.post(f"{_VERSION}/infer", summary="Answer by a version", openapi_extra=_BODY)
    @router.post("/models/{model}/infer", summary="Answer", openapi_extra=_BODY)
    async def infer(
        request: Request,
        model: Name,
        version: Version | None = None,
        header_length: Annotated[
            str | None, Header(alias="Inference-Header-Content-Length")
        ] = None,
        encoding: Annotated[str, Header(alias="Content-Encoding")] = "identity",
    ) -> Response:
        late = time.monotonic() + deadline
        content = await request.body()
        if encoding not in ("identity", "gzip"):
            raise RefusedError(415, f"got content encoding {encoding[:80]!r}, wanted gzip or none")
        if encoding == "gzip" or len(content) > INLINE_BYTES:
            content = inflate(content) if encoding == "gzip" else content
            ask = await asyncio.to_thread(read_infer, content, header_length)
        else:
            ask = read_infer(content, header_length)
        place = {"model": model, "version": version, "id": request_id(request.scope)}
        reply = await backend.submit(ask.with_(deadline=late, **place), request.receive)
        return Response(reply.body, reply.status, dict(reply.headers), reply.kind)

    @router.post("/repository/index", summary="List every version")
    def index(wanted: IndexRequest | None = None) -> list[Listed]:
        del wanted  # what is listed is ready
        return [
            Listed(name=name, version=str(version), state="READY", reason="")
            for name, version in catalog.all()
        ]

    return router
