"""A real server over HTTP: its answers, its refusals, its life."""

import hashlib
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.torch
import torch

import mcdrop
from mcdrop import repository
from mcdrop.data.preprocessing import CategoricalColumn, NumericColumn, TablePreprocessing
from mcdrop.model_card import markdown
from mcdrop.network import build_network
from mcdrop.recipe import Recipe
from mcdrop_service import scratch
from mcdrop_service.limits import BODY_BYTES, EVALUATIONS, ROWS
from mcdrop_service.server import serve
from mcdrop_service.shelf import Shelf
from tests.models import REFERENCE, random_pixels, save_random_classifier
from tests.serving import children, running, serving, wait_for, wait_for_none, worker_of

PIXELS = random_pixels(3).tolist()
PEOPLE = TablePreprocessing(
    numeric=(NumericColumn(name="age", mean=40.0, std=12.0, missing=True),),
    categorical=(
        CategoricalColumn(name="job", categories=("clerk", "smith"), unknown=True, missing=False),
    ),
)
SIZES = TablePreprocessing(
    numeric=(
        NumericColumn(name="width", mean=2.0, std=1.0, missing=False),
        NumericColumn(name="height", mean=5.0, std=2.0, missing=False),
    ),
    categorical=(),
)


def save_table_model(root: Path, name: str, step: TablePreprocessing, **fields: Any) -> Path:
    """A version of an untrained model of a table."""
    task = "classification" if fields.get("classes") else "regression"
    recipe = Recipe.model_validate(
        {
            "task": task,
            "data": {"source": "table", "train": "t.csv", "target": "y"},
            "network": {"hidden": [16], "dropout": 0.3},
        }
    )
    outputs = len(fields.get("classes") or fields["targets"])
    network = build_network(
        recipe.network, step.features, outputs, torch.Generator().manual_seed(1)
    )
    card = {
        "created": datetime(2026, 1, 2, tzinfo=UTC),
        "task": task,
        "classes": (),
        "targets": (),
        "in_features": step.features,
        "samples": 30,
        "calibration": {},
        "recipe": recipe,
        "preprocessing": step,
        "metrics": {},
        "rows": {},
        "data_fingerprint": "none",
        "libraries": {},
    }
    reference = REFERENCE
    if task == "regression":
        reference = replace(REFERENCE, scores=np.random.default_rng(0).random((50, outputs)))
    return repository.save(root, name, network, reference, card | fields)


def save_sick_classifier(root: Path) -> None:
    """A version whose weights are NaN: it loads, and then fails on every request."""
    folder = save_random_classifier(root, "sick")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    content = safetensors.torch.save({key: w * float("nan") for key, w in weights.items()})
    (folder / "model.safetensors").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


def save_models(folder: Path) -> None:
    """A classifier of pictures in two versions, and tables of people and of sizes."""
    save_random_classifier(folder)
    save_random_classifier(folder, seed=1)
    save_table_model(folder, "people", PEOPLE, classes=("no", "yes"))
    noise = {"noise": [0.25, 4.0], "target_variance": [9.0, 16.0]}
    save_table_model(folder, "sizes", SIZES, targets=("mass", "price"), calibration=noise)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_models(folder)
    save_sick_classifier(folder)
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    with serving(root) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http


def ask(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/predict", json=body)


def columns(rows: list[dict[str, Any]], *path: str) -> list[Any]:
    """What each row has at ``path``; dictionaries become lists in their order."""
    found = []
    for row in rows:
        value: Any = row
        for key in path:
            value = value[key]
        found.append(list(value.values()) if isinstance(value, dict) else value)
    return found


def test_classification_answers_are_the_library_s_to_the_bit(
    client: httpx.Client, root: Path
) -> None:
    body = {"inputs": PIXELS, "model": "tiny", "version": 1, "samples": 57, "seed": 2**63 - 1}
    answer = ask(client, **body).json()
    expected = mcdrop.load(root / "tiny" / "1").predict(PIXELS, samples=57, seed=2**63 - 1)
    assert {k: answer[k] for k in ("model", "version", "samples", "seed", "task")} == {
        "model": "tiny",
        "version": 1,
        "samples": 57,
        "seed": 2**63 - 1,
        "task": "classification",
    }
    assert answer["classes"] == list("0123456789")
    rows = answer["predictions"]
    for name in ("confidence", "total", "aleatoric", "epistemic", "agrees", "novelty", "abstain"):
        assert columns(rows, name) == getattr(expected, name).tolist(), name
    sets = [[str(c) for c in np.flatnonzero(row)] for row in expected.prediction_set]
    assert columns(rows, "prediction_set") == sets
    assert (answer["level"], answer["risk"]) == (0.9, 0.05)
    for name in ("probabilities", "std", "mc_error"):
        assert columns(rows, name) == getattr(expected, name).tolist(), name
        assert list(rows[0][name]) == answer["classes"]
    for name in ("total", "aleatoric", "epistemic"):
        assert columns(rows, "variance", name) == getattr(expected, f"{name}_variance").tolist()
    assert columns(rows, "prediction") == [str(i) for i in expected.prediction]
    fixed = expected.deterministic
    assert columns(rows, "deterministic", "prediction") == [str(i) for i in fixed.prediction]
    assert columns(rows, "deterministic", "probabilities") == fixed.probabilities.tolist()


def test_regression_answers_are_the_library_s_to_the_bit(client: httpx.Client, root: Path) -> None:
    inputs = [[1.1, 2.2], [3.3, 1e5]]
    answer = ask(client, inputs=inputs, model="sizes").json()
    expected = mcdrop.load(root / "sizes").predict(inputs)
    rows = answer["predictions"]
    assert (answer["samples"], answer["seed"], answer["targets"]) == (30, 0, ["mass", "price"])
    for name in ("mean", "std", "confidence", "total", "aleatoric", "epistemic", "mc_error"):
        assert columns(rows, name) == getattr(expected, name).tolist(), name
    lower, upper = expected.lower, expected.upper
    ends = [[[e["lower"], e["upper"]] for e in row] for row in columns(rows, "interval")]
    assert columns(rows, "novelty") == expected.novelty.tolist()
    assert ends == np.stack([lower, upper], axis=-1).tolist()
    assert columns(rows, "deterministic", "mean") == expected.deterministic.mean.tolist()


def test_level_and_risk_are_the_callers(client: httpx.Client, root: Path) -> None:
    body = {"inputs": PIXELS, "model": "tiny", "version": 1}
    strict = ask(client, **body, level=0.97, risk=0.3).json()
    expected = mcdrop.load(root / "tiny" / "1").predict(PIXELS, level=0.97, risk=0.3)
    assert (strict["level"], strict["risk"]) == (0.97, 0.3)
    assert columns(strict["predictions"], "abstain") == expected.abstain.tolist()
    sizes = [len(row) for row in columns(strict["predictions"], "prediction_set")]
    assert sizes == expected.prediction_set.sum(1).tolist()
    for field, value in (("level", 1), ("level", 0.0), ("risk", "low"), ("risk", -1.0)):
        refused = ask(client, **body, **{field: value})
        assert refused.status_code == 422
        assert field in refused.json()["detail"]
    regression = ask(client, inputs=[[1.0, 2.0]], model="sizes", risk=0.1)
    assert regression.status_code == 422
    # 50 calibration rows prove no interval at .99: there is none, rather than a wrong one.
    wide = ask(client, inputs=[[1.0, 2.0]], model="sizes", level=0.99).json()
    assert wide["predictions"][0]["interval"] == {"mass": None, "price": None}


def test_records_may_lack_values_and_have_unknown_ones(client: httpx.Client, root: Path) -> None:
    records = [{"age": 30, "job": "smith"}, {"job": None}, {"age": 1e9, "job": "astronaut"}, {}]
    rows = ask(client, records=records, model="people").json()["predictions"]
    expected = mcdrop.load(root / "people").predict(records)
    assert columns(rows, "probabilities") == expected.probabilities.tolist()
    assert {row["prediction"] for row in rows} <= {"no", "yes"}


def test_rows_may_be_nested_and_numeric_tables_may_be_records(client: httpx.Client) -> None:
    nested = np.reshape(PIXELS, (3, 8, 8)).tolist()
    flat = ask(client, inputs=PIXELS, model="tiny").json()
    assert ask(client, inputs=nested, model="tiny").json() == flat
    rows = ask(client, inputs=[[2.5, 3.5]], model="sizes").json()
    records = [{"height": 3.5, "width": 2.5}]
    assert ask(client, records=records, model="sizes").json() == rows


def same(one: Any, other: Any) -> bool:
    """Whether two answers agree, but for the last digits: those depend on who is beside them."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == pytest.approx(other, abs=1e-6)) if isinstance(one, float) else one == other


def row(value: Any = 0.0, width: int = 64) -> list[Any]:
    return [value] * width


TINY = {"model": "tiny"}
DEEP = '{"inputs": ' + "[" * 100_000 + "]" * 100_000 + "}"
REFUSED: dict[str, tuple[dict[str, Any] | str, int, str]] = {
    "too narrow": ({"inputs": [row(width=63)], **TINY}, 422, r"(1, 63), wanted (rows, 64)"),
    "too wide": ({"inputs": [row(width=65)], **TINY}, 422, "wanted (rows, 64)"),
    "empty row": ({"inputs": [[]], **TINY}, 422, "wanted (rows, 64)"),
    "ragged": ({"inputs": [row(), row(width=3)], **TINY}, 422, "unequal lengths"),
    "text": ({"inputs": [["0", *row(width=63)]], **TINY}, 422, "inputs[0][0]: "),
    "null": ({"inputs": [row(), [*row(width=63), None]], **TINY}, 422, "inputs[1][63]: "),
    "nested fault": ({"inputs": [[row(width=8), [1, "x"]]], **TINY}, 422, "inputs[0][1][1]: "),
    "too large for the network": ({"inputs": [row(1e37)], **TINY}, 422, "finite number"),
    "too large for float32": ({"inputs": [row(1e39)], **TINY}, 422, "finite number"),
    "NaN": ('{"model": "tiny", "inputs": [[NaN]]}', 422, "inputs[0][0]: input should be a finite"),
    "Infinity": ('{"model": "tiny", "inputs": [[-Infinity]]}', 422, "finite number"),
    "1e999": ('{"model": "tiny", "inputs": [[1e999]]}', 422, "finite number"),
    "NaN in a record": ('{"model": "people", "records": [{"age": NaN}]}', 422, "column 'age'"),
    "5000 digits": ('{"inputs": [[%s]]}' % ("9" * 5000), 400, ""),
    "unknown column": ({"records": [{"wage": 3}], "model": "people"}, 422, "'wage'"),
    "text for a number": ({"records": [{"age": "3"}], "model": "people"}, 422, "column 'age'"),
    "records for an array": ({"records": [{"a": 3}], **TINY}, 422, "wanted `inputs`"),
    "inputs for labels": ({"inputs": [[3]], "model": "people"}, 422, "'age', 'job'"),
    "both": ({"inputs": [row()], "records": [{}], **TINY}, 422, "got `inputs` and `records`"),
    "neither": (TINY, 422, "got no rows"),
    "no rows": ({"inputs": [], **TINY}, 422, "at least 1"),
    "many rows": ({"inputs": [[0]] * (ROWS + 1), **TINY}, 422, f"at most {ROWS}"),
    "many samples": ({"inputs": [row()], "samples": 10_001, **TINY}, 422, "10000"),
    "many evaluations": (
        {"inputs": [row()] * 101, "samples": 10_000, **TINY},
        422,
        f"101 rows of 10000 samples each, 1,010,000 evaluations, wanted {EVALUATIONS:,} at most",
    ),
    "no samples": ({"inputs": [row()], "samples": 0, **TINY}, 422, "samples: "),
    "negative seed": ({"inputs": [row()], "seed": -1, **TINY}, 422, "seed: "),
    "typo": ({"inputs": [row()], "smaples": 3, **TINY}, 422, "unknown field 'smaples'"),
    "which model": ({"inputs": [row()]}, 400, "people, sick, sizes, tiny"),
    "unknown model": ({"inputs": [row()], "model": "none"}, 404, "people, sick, sizes, tiny"),
    "unknown version": ({"inputs": [row()], "version": 3, **TINY}, 404, "it has 1, 2"),
    "huge version": ({"inputs": [row()], "version": 10**4000, **TINY}, 422, "version: "),
    "path up": ({"inputs": [row()], "model": "../repository/tiny"}, 404, "no trained model"),
    "path down": ({"inputs": [row()], "model": "tiny/1"}, 404, "no trained model"),
    "absolute path": ({"inputs": [row()], "model": "/etc"}, 404, "no trained model"),
    "empty name": ({"inputs": [row()], "model": ""}, 404, "no trained model"),
    "NUL": ({"inputs": [row()], "model": "tiny\0"}, 404, "no trained model"),
    "lone surrogate": ('{"inputs": [[0]], "model": "\\ud800"}', 400, "not JSON"),
    "long name": ({"inputs": [row()], "model": "x" * 10**6}, 422, "128 characters"),
    "half JSON": ('{"inputs": [[', 400, "not JSON"),
    "no JSON": ("hello", 400, "not JSON"),
    "not UTF-8": ("\udcff\udcfe", 400, ""),
    "empty": ("", 400, "not JSON"),
    "array": ("[]", 422, "must be a JSON object"),
    "null body": ("null", 422, "must be a JSON object"),
    "deep": (DEEP, 400, ""),
    "deep in its bounds": ('{"inputs": ' + "[" * 200 + "]" * 200 + "}", 422, "inputs[0]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_requests_are_refused_with_what_was_wanted(client: httpx.Client, case: str) -> None:
    body, status, said = REFUSED[case]
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": "application/json"}
    content = text.encode("utf-8", "surrogateescape")
    answer = client.post("/predict", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    detail = answer.json()["detail"]
    assert said in detail
    assert 10 < len(detail) < 1000
    assert "Traceback" not in detail
    assert "Error" not in detail
    assert ask(client, inputs=PIXELS, model="tiny").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_other_content_is_refused(client: httpx.Client, kind: str) -> None:
    answer = client.post("/predict", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_are_refused_unparsed(client: httpx.Client, chunked: bool) -> None:
    whole = b" " * (BODY_BYTES + 1)
    content = (whole[i : i + 2**16] for i in range(0, len(whole), 2**16)) if chunked else whole
    answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "16 MiB" in answer.json()["detail"]


def test_unknown_routes_and_methods_have_the_same_shape(client: httpx.Client) -> None:
    for method, path, status in (("GET", "/none", 404), ("GET", "/predict", 405)):
        answer = client.request(method, path)
        assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert client.post("/shutdown", json={}).status_code == 404  # nobody stops it from outside


def test_bad_requests_do_not_disturb_good_ones_beside_them(client: httpx.Client) -> None:
    good = {"inputs": PIXELS, "model": "tiny"}
    expected = ask(client, **good).json()
    bad = [body for body, *_ in REFUSED.values() if isinstance(body, dict)]
    bodies = [b for body in bad for b in (good, body, {"inputs": PIXELS, "model": "sick"})]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda body: ask(client, **body), bodies))
    for body, answer in zip(bodies, answers, strict=True):
        if body is good:
            assert same(answer.json(), expected)
        else:
            assert answer.status_code >= 400


def test_a_model_that_fails_fails_alone(client: httpx.Client) -> None:
    answer = ask(client, inputs=PIXELS, model="sick")
    assert answer.status_code == 500
    detail = "model 'sick' version 1 cannot be loaded: see the server's log"
    assert answer.json() == {"detail": detail}
    assert ask(client, inputs=PIXELS, model="tiny").status_code == 200


def test_versions_are_found_while_the_server_runs(client: httpx.Client, root: Path) -> None:
    def becomes(version: int) -> bool:
        """Whether the version takes over, with an answer by one version or another meanwhile."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = ask(client, inputs=PIXELS, model="fresh")
            assert answer.status_code == 200
            if answer.json()["version"] == version:
                return True
            time.sleep(0.05)
        return False

    assert ask(client, inputs=PIXELS, model="fresh").status_code == 404
    first = save_random_classifier(root, "fresh", seed=1)
    assert becomes(1)
    second = save_random_classifier(root, "fresh", seed=2)
    assert becomes(2)
    before = ask(client, inputs=PIXELS, model="fresh").json()
    shutil.rmtree(second)
    assert becomes(1)
    save_random_classifier(root, "fresh", seed=3)  # 2 again, and another network
    assert becomes(2)
    assert ask(client, inputs=PIXELS, model="fresh").json() != before
    shutil.rmtree(first.parent)
    deadline = time.monotonic() + 20
    while ask(client, inputs=PIXELS, model="fresh").status_code != 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_version_that_cannot_be_loaded_says_no_more_than_that(
    client: httpx.Client, root: Path
) -> None:
    folder = save_random_classifier(root, "cut")
    (folder / "model.safetensors").write_bytes(b"")
    answer = ask(client, inputs=PIXELS, model="cut")
    (folder / "card.json").write_text("{")
    listed = client.get("/models").json()["models"]
    shutil.rmtree(folder.parent)
    assert answer.status_code == 500
    assert answer.json()["detail"] == "model 'cut' version 1 cannot be loaded: see the server's log"
    assert "cut" not in {model["name"] for model in listed}


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


def test_the_only_model_need_not_be_named(tmp_path: Path) -> None:
    save_random_classifier(tmp_path, "only")
    shelf = Shelf(tmp_path)
    shelf.start()
    assert shelf.find(None, None).card.name == "only"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no trained model .*: try `mcdrop train digits`"),
        ({"host": "example.org"}, "host: .*'127.0.0.1'.* got 'example.org'"),
        ({"port": 80}, "port: .*1024, got 80"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(mcdrop.errors.McdropError, match=said):
        serve(tmp_path, **options)


def test_a_start_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_classifier(tmp_path / "models")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for wrong in ({"keys": ("alice:x",)}, {"adaptive": 0.1}, {"feedback": tmp_path}):
        with pytest.raises(mcdrop.errors.InputError):
            serve(tmp_path / "models", **wrong)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_without_keys_nobody_unloads_a_model(client: httpx.Client) -> None:
    for change in ("load", "unload"):
        answer = client.post(f"/v2/repository/models/tiny/{change}")
        assert (answer.status_code, "`repository`" in answer.json()["error"]) == (403, True)
    assert client.get("/v2/models/tiny/ready").status_code == 200
    assert client.post("/v2/repository/index").status_code == 200


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc")
def test_a_killed_worker_is_replaced_and_ctrl_c_drains(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    with running(tmp_path) as (server, http, log):
        wait_for(http, 200)
        os.kill(worker_of(server.pid), signal.SIGKILL)
        wait_for(http, 503)
        wait_for(http, 200)
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(ask, http, inputs=PIXELS * 300, samples=1000)
            time.sleep(0.2)
            os.killpg(server.pid, signal.SIGINT)  # as a terminal does
            assert work.result().status_code == 200
        assert server.wait(15) == 0
        wait_for_none(server.pid)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", http.base_url.port))
        log.seek(0)
        assert len(log.read().splitlines()) == 2  # the settings and the greeting


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc")
def test_a_server_that_is_killed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes end with it, and the next server takes its folders away."""
    save_random_classifier(tmp_path)
    place = tmp_path / "t"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    with running(tmp_path) as (server, http, _):
        wait_for(http, 200)
        assert len(children(server.pid)) >= 3
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        scratch.remove_orphans()
        assert len(list(place.glob("mcdrop-*"))) == 2  # metrics, and sockets
        assert http.get("/health").status_code == 200
        server.kill()
        server.wait()
        wait_for_none(server.pid)
    scratch.remove_orphans()
    assert not list(place.glob("mcdrop-*"))
