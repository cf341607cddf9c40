"""Requests are strict and cheap to refuse; answers hold finite numbers."""

import json
import time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mcdrop_service.limits import ROWS
from mcdrop_service.request import PredictRequest
from mcdrop_service.schemas import Classification, PredictResponse

ROW = [0.5, 1, 2]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [ROW]},
        {"inputs": [[ROW, ROW]]},  # a row in the model's shape
        {"inputs": [ROW] * ROWS},
        {"inputs": [ROW], "samples": 10_000, "seed": 2**63 - 1, "version": 1, "model": "a"},
        {"records": [{"age": 3, "job": "smith", "member": True, "city": None}]},
        {"records": [{}]},
        {"inputs": [ROW], "records": None},
    ],
)
def test_accepted(body: dict[str, Any]) -> None:
    request = PredictRequest.model_validate(body)
    assert (request.inputs, request.records) == (body.get("inputs"), body.get("records"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "got no rows"),
        ({"inputs": [ROW], "records": [{}]}, "got `inputs` and `records`"),
        ({"inputs": []}, "at least 1 item"),
        ({"records": []}, "at least 1 item"),
        ({"inputs": [ROW] * (ROWS + 1)}, f"got {ROWS + 1} rows, wanted at most {ROWS}"),
        ({"inputs": ROW}, "valid list"),
        ({"inputs": [["1"]]}, "valid number"),
        ({"inputs": [[True]]}, "valid number"),
        ({"inputs": [[None]]}, "valid number"),
        ({"inputs": [[float("nan")]]}, "finite number"),
        ({"inputs": [[float("-inf")]]}, "finite number"),
        ({"inputs": [[10**400]]}, "valid number"),
        ({"inputs": [[[[[1]]]]]}, "valid number"),
        ({"records": [ROW]}, "valid dictionary"),
        ({"records": [{"age": float("nan")}]}, "row 0, column 'age': got NaN"),
        ({"records": [{}, {"age": 10**400}]}, "row 1, column 'age': got an integer too large"),
        ({"records": [{"age": [1]}]}, "got an array"),
        ({"records": [{"age": {}}]}, "got an object"),
        ({"inputs": [ROW], "samples": 0}, "greater than or equal to 1"),
        ({"inputs": [ROW], "samples": 10_001}, "less than or equal to 10000"),
        ({"inputs": [ROW], "samples": 10.0}, "valid integer"),
        ({"inputs": [ROW], "samples": "10"}, "valid integer"),
        ({"inputs": [ROW], "samples": True}, "valid integer"),
        ({"inputs": [ROW], "seed": -1}, "greater than or equal to 0"),
        ({"inputs": [ROW], "seed": 2**63}, "less than or equal to 9223372036854775807"),
        ({"inputs": [ROW], "version": 0}, "greater than or equal to 1"),
        ({"inputs": [ROW], "model": 1}, "valid string"),
        ({"inputs": [ROW], "sample": 10}, "unknown field 'sample'"),
    ],
)
def test_refused(body: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PredictRequest.model_validate(body)


@pytest.mark.parametrize(
    "body",
    [
        {f"field {i}": 0 for i in range(300_000)},
        {"records": [{f"column {i}": [] for i in range(300_000)}]},
        {"records": [[]] * 300_000},
        {"inputs": [["x"] * 300_000]},
        {"inputs": ["x"] * 300_000},
    ],
)
def test_a_body_of_many_faults_is_refused_at_the_first(body: dict[str, Any]) -> None:
    """One fault a value took ten seconds of the event loop."""
    start = time.process_time()
    with pytest.raises(ValidationError) as caught:
        PredictRequest.model_validate(body)
    assert caught.value.error_count() <= 4
    assert len(str(caught.value.errors()[0]["msg"])) < 400
    assert time.process_time() - start < 1


def test_answers_cannot_hold_what_json_cannot() -> None:
    example = Classification.model_config["json_schema_extra"]["example"]  # type: ignore[index,call-overload]
    good = json.dumps(example)
    answer = Classification.model_validate_json(good)
    rare = {"predictions": {"__all__": {"passes", "samples"}}}
    assert answer.model_dump(exclude=rare) == json.loads(good)  # the example in /docs is complete
    for name in ("confidence", "epistemic"):
        example = json.loads(good)
        example["predictions"][0][name] = float("nan")
        with pytest.raises(ValidationError, match="finite number"):
            Classification.model_validate(example)


def test_every_field_of_an_answer_is_described() -> None:
    schema = TypeAdapter(PredictResponse).json_schema()
    for name, model in schema["$defs"].items():
        assert model["description"], name
        if name in ("Classification", "Regression", "Interval"):
            continue
        for field, about in model["properties"].items():
            assert "description" in about or "$ref" in about, f"{name}.{field}"
