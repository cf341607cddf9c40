"""What ``/docs`` and ``/openapi.json`` show: FastAPI's schema, made whole.

Knows the schema's places for examples and failures. Examples are drawn from the repository's own
models, so that "Try it out" works as it stands.
"""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import mcdrop
from mcdrop.errors import RepositoryError
from mcdrop.repository import list_models, read_card, resolve
from mcdrop_service.limits import ROWS
from mcdrop_service.request import ROW_FORMS
from mcdrop_service.schemas import Failure
from mcdrop_service.v2 import InferRequest
from mcdrop_service.v2_errors import ProtocolFailure

__all__ = ["describe"]

_DESCRIPTION = """\
Answers of dropout networks that say how far they can be trusted.

Every row is answered twice: by the network with dropout off (`deterministic`), and by T networks
thinned by dropout, drawn from `seed`. Where those disagree, the model does not know (`epistemic`);
where each of them is in doubt, the row is ambiguous (`aleatoric`).
"""

_FAILURES = {
    "400": "The body is not JSON, or a model has to be named.",
    "404": "No such model or version.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body's type or encoding is not one that is read.",
    "422": "The rows or options cannot be used.",
    "431": "The query or the headers are too long.",
    "500": "The model failed on this request; others are answered.",
    "503": "Too many requests are waiting.",
    "504": "The answer took too long.",
}

_ANYWHERE = {
    "401": "A key is wanted, and none or an unknown one came.",
    "429": "The key asks more often than it may.",
}

_BODIES = {
    "application/octet-stream": "Little-endian float32, row after row, in the shape that the "
    "header `x-shape` says; options are in the query string.",
    "application/x-npy": "A file of `numpy.save`; options are in the query string.",
    "application/vnd.apache.arrow.stream": "An Arrow IPC stream, uncompressed: every column of a "
    "table, or one column of lists of numbers; options are in the query string.",
}

_HEADERS = {
    "x-shape": "Sizes of a body of float32, as 3,784; one row without it.",
    "x-timeout": "Seconds the caller waits; the server's limit by default.",
    "x-request-id": "A name for the request; one is made without it, and comes back.",
}

_SUMMARIES = {
    ("/", "get"): "Show the playground, for people",
    ("/health", "get"): "Whether every worker is ready",
    ("/info", "get"): "How the server is set up",
    ("/models", "get"): "List the models and what they take",
    ("/predict", "post"): "Answer for rows",
}


def describe(app: FastAPI, repository: Path, rows: int = ROWS) -> dict[str, Any]:
    """The OpenAPI schema of ``app``, with examples from ``repository``'s models as of now.

    Args:
        app: what it is about.
        repository: of the models.
        rows: that a request may have.
    """
    schema = get_openapi(
        title="mcdrop", version=mcdrop.__version__, description=_DESCRIPTION, routes=app.routes
    )
    for (path, method), summary in _SUMMARIES.items():
        schema["paths"][path][method]["summary"] = summary
    components = schema["components"]["schemas"]
    for name in ROW_FORMS:
        of_rows, _null = components["PredictRequest"]["properties"][name]["anyOf"]
        of_rows["maxItems"] = rows
    components["Failure"] = Failure.model_json_schema()
    components["ProtocolFailure"] = ProtocolFailure.model_json_schema()
    infer = InferRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    components |= infer.pop("$defs") | {"InferRequest": infer}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _describe_failures(operation["responses"], protocol=path.startswith("/v2"))
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    predict = schema["paths"]["/predict"]["post"]
    predict["operationId"] = "predict"
    predict["requestBody"]["content"]["application/json"]["examples"] = _examples(repository)
    for status, meaning in _FAILURES.items():
        predict["responses"][status] = _failure(meaning, "Failure")
    schema["paths"] |= _gate_paths(predict)
    return schema


def _gate_paths(predict: dict[str, Any]) -> dict[str, Any]:
    """What the gate answers, and FastAPI therefore does not know; ``predict`` is completed."""
    for kind, meaning in _BODIES.items():
        form = {"type": "string", "format": "binary", "description": meaning}
        predict["requestBody"]["content"][kind] = {"schema": form}
    predict["parameters"] = [
        {"name": name, "in": "header", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in _HEADERS.items()
    ]
    events = "`estimate` after 8, 16, 32, ... passes, each with an answer as of `/predict`; then "
    events += "`done`, or `error` with what went wrong"
    stream = {**predict, "operationId": "stream", "summary": "Answer while the passes come"}
    content = {"text/event-stream": {"schema": {"type": "string", "description": events}}}
    answered = {"200": {"description": "Server-sent events", "content": content}}
    stream["responses"] = {**predict["responses"], **answered}
    unready = {"description": "No worker is there, or the server is stopping."}
    return {
        "/predict/stream": {"post": stream},
        "/health/live": _state("Whether the server answers at all", {}),
        "/health/ready": _state("Whether requests will be answered", {"503": unready}),
    }


def _state(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    found = {"200": {"description": "Yes"}, **responses}
    return {"get": {"summary": summary, "responses": found}}


def _describe_failures(responses: dict[str, Any], *, protocol: bool) -> None:
    """What any route may refuse for."""
    kind = "ProtocolFailure" if protocol else "Failure"
    if "422" in responses:  # FastAPI's own, of a shape that is not ours
        responses["422"] = _failure("The parameters or the body cannot be used.", kind)
    for status, meaning in _ANYWHERE.items():
        responses.setdefault(status, _failure(meaning, kind))


def _failure(meaning: str, kind: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{kind}"}
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


def _examples(repository: Path) -> dict[str, Any]:
    """A request for each model that can be read."""
    examples = {}
    for entry in list_models(repository):
        try:
            card = read_card(resolve(repository, entry.name))
        except RepositoryError:
            continue
        key = "inputs" if card.preprocessing.kind == "array" else "records"
        examples[entry.name] = {
            "summary": f"ask {entry.name}",
            "value": {"model": entry.name, key: card.preprocessing.example()},
        }
    return examples
