"""The Open Inference Protocol v2 over HTTP: its routes.

Knows paths, headers and which part answers them. Refuses to know tensors (``v2``, ``v2_tensors``)
and how rows are answered.
"""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

import mcdrop
from mcdrop_service.ask import JSON, RefusedError
from mcdrop_service.backend import Backend
from mcdrop_service.bodies import inflate
from mcdrop_service.catalog import Catalog
from mcdrop_service.gate import request_id
from mcdrop_service.limits import INLINE_BYTES
from mcdrop_service.served import served
from mcdrop_service.settings import Settings
from mcdrop_service.v2 import read_infer
from mcdrop_service.v2_repository import Name, Version, is_served
from mcdrop_service.v2_tensors import describe

__all__ = ["router_of"]

_EXTENSIONS = ["binary_tensor_data", "model_repository", "model_repository(unload_dependents)"]
_VERSION = "/models/{model}/versions/{version}"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/InferRequest"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


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


def router_of(catalog: Catalog, backend: Backend, settings: Settings) -> APIRouter:
    """The routes below ``/v2`` that ask models."""
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
    async def metadata(model: Name, version: Version | None = None) -> Metadata:
        version = version or (await served(backend)).get(model)
        card = await asyncio.to_thread(catalog.card, model, version)
        return Metadata.model_validate(describe(card, catalog.versions(model)))

    @router.get(f"{_VERSION}/ready", summary="Whether a version would answer")
    @router.get("/models/{model}/ready", summary="Whether a model would answer")
    async def model_ready(model: Name, version: Version | None = None) -> dict[str, bool]:
        await asyncio.to_thread(catalog.card, model, version)  # that there is one
        if not is_served(await backend.look(), model, version):
            raise RefusedError(503, f"model {model!r} is not ready")
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
        late = time.monotonic() + settings.deadline
        content = await request.body()
        if encoding not in ("identity", "gzip"):
            raise RefusedError(415, f"got content encoding {encoding[:80]!r}, wanted gzip or none")
        if encoding == "gzip":
            content = await asyncio.to_thread(inflate, content, settings.body_bytes)
        if len(content) > INLINE_BYTES:
            ask = await asyncio.to_thread(read_infer, content, header_length, settings.rows)
        else:
            ask = read_infer(content, header_length, settings.rows)
        place = {"model": model, "version": version, "id": request_id(request.scope)}
        reply = await backend.submit(ask.with_(deadline=late, **place), request.receive)
        return Response(reply.body, reply.status, dict(reply.headers), reply.kind)

    return router
