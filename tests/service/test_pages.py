"""What the server says of itself and its models."""

import json
from pathlib import Path

import httpx

import mcdrop
from mcdrop import repository
from mcdrop.model_card import markdown
from tests.service.asking import ask

# Three standard deviations around the mean, where training kept no range.
AGES = {"minimum": 40 - 3 * 12, "maximum": 40 + 3 * 12, "mean": 40}


NO_RANGE = dict.fromkeys(AGES)


def test_models_says_what_each_takes(client: httpx.Client) -> None:
    models = {(m["name"], m["version"]): m for m in client.get("/models").json()["models"]}
    assert set(models) == {("people", 1), ("sick", 1), ("sizes", 1), ("tiny", 1), ("tiny", 2)}
    tiny, people, sizes = (models[key] for key in (("tiny", 2), ("people", 1), ("sizes", 1)))
    assert tiny["latest"]
    assert not models["tiny", 1]["latest"]
    assert (tiny["shape"], tiny["columns"], tiny["samples"]) == ([8, 8], None, 40)
    assert tiny["metrics"] == {"served": {"accuracy": 0.1}}
    assert people["classes"] == ["no", "yes"]
    assert people["columns"] == [
        {"name": "age", "kind": "number", "categories": None, **AGES},
        {"name": "job", "kind": "category", "categories": ["clerk", "smith"], **NO_RANGE},
    ]
    assert [tiny["minimum"], tiny["maximum"]] == [0, 16]
    assert people["minimum"] is people["maximum"] is None
    assert (sizes["task"], sizes["targets"]) == ("regression", ["mass", "price"])


def test_a_model_s_card_is_read(client: httpx.Client, root: Path) -> None:
    for query, version in (("", "2"), ("?version=1", "1")):
        answer = client.get(f"/models/tiny/card{query}")
        assert answer.headers["content-type"].startswith("text/markdown")
        assert answer.text == markdown(repository.read_card(root / "tiny" / version))
    assert client.get("/models/none/card").status_code == 404


def test_info_says_which_server_this_is(client: httpx.Client) -> None:
    about = client.get("/info").json()
    assert about["model"] == {"server": "mcdrop", "version": mcdrop.__version__}
    assert about["server"]["workers_per_device"] == 1


def test_the_documentation_is_complete_and_its_examples_work(client: httpx.Client) -> None:
    assert "swagger" in client.get("/docs").text
    assert "<title>mcdrop" in client.get("/docs").text
    schema = client.get("/openapi.json").json()
    predict = schema["paths"]["/predict"]["post"]
    assert set(predict["responses"]) == {
        *("200", "400", "401", "404", "408", "413", "415", "422", "429", "431", "500", "503", "504")
    }
    content = predict["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/PredictRequest"}
    answer = predict["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["discriminator"]["propertyName"] == "task"
    assert {"application/octet-stream", "application/x-npy"} < set(
        predict["requestBody"]["content"]
    )
    stream = schema["paths"]["/predict/stream"]["post"]["responses"]["200"]["content"]
    assert list(stream) == ["text/event-stream"]
    assert {"/health", "/health/live", "/health/ready"} < set(schema["paths"])
    request = schema["components"]["schemas"]["PredictRequest"]
    assert request["additionalProperties"] is False
    assert all("description" in about for about in request["properties"].values())
    references = json.dumps(schema).split('"#/components/schemas/')[1:]
    assert {r.split('"')[0] for r in references} <= set(schema["components"]["schemas"])
    for name in ("tiny", "people", "sizes"):
        example = content["examples"][name]["value"]
        assert ask(client, **example).status_code == 200
