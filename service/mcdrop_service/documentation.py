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
from mcdrop_service.schemas import Failure

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
    "413": "The body is too large.",
    "415": "The body is not declared to be JSON.",
    "422": "The rows or options cannot be used.",
    "500": "The model failed on this request; others are answered.",
    "503": "Too many requests are waiting.",
    "504": "The answer took too long.",
}

_SUMMARIES = {
    ("/", "get"): "Say that the server runs",
    ("/health", "get"): "Whether every worker is ready",
    ("/info", "get"): "How the server is set up",
    ("/models", "get"): "List the models and what they take",
    ("/predict", "post"): "Answer for rows",
}


def describe(app: FastAPI, repository: Path) -> dict[str, Any]:
    """The OpenAPI schema of ``app``, with examples from ``repository``'s models as of now."""
    schema = get_openapi(
        title="mcdrop", version=mcdrop.__version__, description=_DESCRIPTION, routes=app.routes
    )
    for (path, method), summary in _SUMMARIES.items():
        schema["paths"][path][method]["summary"] = summary
    components = schema["components"]["schemas"]
    components["Failure"] = Failure.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    predict = schema["paths"]["/predict"]["post"]
    predict["operationId"] = "predict"
    predict["requestBody"]["content"]["application/json"]["examples"] = _examples(repository)
    for status, meaning in _FAILURES.items():
        predict["responses"][status] = {
            "description": meaning,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
        }
    return schema


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
