"""The real client of the protocol, unmodified, against a real server."""

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import mcdrop
from tests.models import random_pixels, save_models, save_random_classifier
from tests.serving import serving

PIXELS = random_pixels(3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_models(folder)
    return folder


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with serving(root, open="health,page,repository") as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(url.removeprefix("http://"), concurrency=8) as found:
        yield found


def tensor(name: str, values: np.ndarray, kind: str, binary: bool = True) -> triton.InferInput:
    found = triton.InferInput(name, list(values.shape), kind)
    found.set_data_from_numpy(values, binary_data=binary)
    return found


def test_the_server_and_its_models_introduce_themselves(
    client: triton.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "mcdrop"
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "3")
    assert not client.is_model_ready("none")
    about = client.get_model_metadata("tiny")
    assert about["versions"] == ["1", "2"]
    assert about["inputs"] == [{"name": "inputs", "datatype": "FP32", "shape": [-1, 64]}]
    assert {"probabilities", "confidence", "epistemic", "aleatoric"} <= {
        output["name"] for output in about["outputs"]
    }
    names = {(model["name"], model["version"]) for model in client.get_model_repository_index()}
    assert names == {("tiny", "1"), ("tiny", "2"), ("people", "1"), ("sizes", "1")}
    columns = client.get_model_metadata("people")["inputs"]
    assert [(c["name"], c["datatype"]) for c in columns] == [("age", "FP64"), ("job", "BYTES")]


@pytest.mark.parametrize("binary", [True, False])
def test_answers_are_the_library_s_to_the_bit(
    client: triton.InferenceServerClient, root: Path, binary: bool
) -> None:
    result = client.infer(
        "tiny",
        [tensor("inputs", PIXELS.astype(np.float32), "FP32", binary)],
        model_version="1",
        outputs=[
            triton.InferRequestedOutput(name, binary_data=binary)
            for name in ("probabilities", "epistemic", "prediction", "prediction_set")
        ],
        request_id="mine",
        parameters={"samples": 57, "seed": 9, "level": 0.8},
    )
    expected = mcdrop.load(root / "tiny" / "1").predict(PIXELS, 57, 9, level=0.8)
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_version"] == "1"
    np.testing.assert_array_equal(result.as_numpy("probabilities"), expected.mean)
    np.testing.assert_array_equal(result.as_numpy("epistemic"), expected.epistemic)
    np.testing.assert_array_equal(result.as_numpy("prediction_set"), expected.prediction_set)
    labels = [t.decode() if isinstance(t, bytes) else t for t in result.as_numpy("prediction")]
    assert labels == [str(i) for i in expected.prediction]
    assert result.as_numpy("total") is None


def test_every_output_comes_by_default(client: triton.InferenceServerClient) -> None:
    result = client.infer("tiny", [tensor("inputs", PIXELS, "FP64")])
    about = client.get_model_metadata("tiny")
    for output in about["outputs"]:
        values = result.as_numpy(output["name"])
        assert list(values.shape) == [3, *output["shape"][1:]]


def test_tables_come_by_their_columns(client: triton.InferenceServerClient, root: Path) -> None:
    ages = np.array([[30.0], [np.nan]])
    jobs = np.array([["smith"], ["astronaut"]], dtype=object)
    result = client.infer("people", [tensor("age", ages, "FP64"), tensor("job", jobs, "BYTES")])
    records = [{"age": 30.0, "job": "smith"}, {"age": None, "job": "astronaut"}]
    expected = mcdrop.load(root / "people").predict(records)
    np.testing.assert_array_equal(result.as_numpy("probabilities"), expected.mean)
    rows = np.array([[1.1, 2.2], [3.3, 4.4]])
    values = client.infer("sizes", [tensor("inputs", rows, "FP64")])
    expected = mcdrop.load(root / "sizes").predict(rows)
    np.testing.assert_array_equal(values.as_numpy("lower"), expected.lower)
    np.testing.assert_array_equal(values.as_numpy("deterministic"), expected.deterministic.mean)


def test_many_at_once_and_compressed(client: triton.InferenceServerClient, root: Path) -> None:
    pending = [
        client.async_infer(
            "tiny",
            [tensor("inputs", PIXELS[:1] + i, "FP64")],
            parameters={"seed": i % 3},
            request_compression_algorithm="gzip" if i % 2 else None,
        )
        for i in range(24)
    ]
    predictor = mcdrop.load(root / "tiny")
    for i, request in enumerate(pending):
        expected = predictor.predict(PIXELS[:1] + i, seed=i % 3)
        found = request.get_result().as_numpy("probabilities")
        np.testing.assert_allclose(found, expected.mean, rtol=1e-5)  # rows are gathered anew


@pytest.mark.parametrize(
    ("model", "values", "options", "status", "said"),
    [
        ("none", PIXELS, {}, "404", "no trained model 'none'"),
        ("tiny", PIXELS[:, :5], {}, "422", r"wanted \(rows, 64\)"),
        ("tiny", PIXELS * np.nan, {}, "422", "finite"),
        ("tiny", PIXELS, {"parameters": {"samples": -1}}, "400", "samples"),
        ("tiny", PIXELS, {"outputs": [triton.InferRequestedOutput("logits")]}, "422", "logits"),
        ("tiny", PIXELS, {"model_version": "9"}, "404", "has no version 9"),
        ("people", PIXELS, {}, "422", "'age', 'job'"),
    ],
)
def test_failures_are_told_in_the_protocol_s_shape(
    client: triton.InferenceServerClient,
    model: str,
    values: np.ndarray,
    options: dict[str, Any],
    status: str,
    said: str,
) -> None:
    with pytest.raises(InferenceServerException, match=said) as failed:
        client.infer(model, [tensor("inputs", values, "FP64")], **options)
    assert failed.value.status() == status


def test_other_failures_have_that_shape_too(url: str) -> None:
    infer = f"{url}/v2/models/tiny/infer"
    body = json.dumps({"inputs": []}).encode()
    for answer, status in [
        (httpx.post(infer, content=b"{"), 400),
        (httpx.post(infer, content=body), 400),
        (httpx.post(infer, content=b"x", headers={"content-encoding": "gzip"}), 400),
        (httpx.post(infer, content=b"x", headers={"content-encoding": "br"}), 415),
        (
            httpx.post(
                infer, content=gzip.compress(b"0" * 2**25), headers={"content-encoding": "gzip"}
            ),
            413,
        ),
        (httpx.post(infer, content=body, headers={"inference-header-content-length": "-1"}), 400),
        (httpx.get(infer), 405),
        (httpx.get(f"{url}/v2/none"), 404),
        (httpx.get(f"{url}/v2/models/tiny/versions/x"), 422),
        (httpx.get(f"{url}/v2/models/%2e%2e%2ftiny"), 404),
    ]:
        assert answer.status_code == status, answer.text
        assert list(answer.json()) == ["error"]


def test_requests_are_counted_by_the_pattern_of_their_path(
    client: triton.InferenceServerClient, url: str
) -> None:
    client.infer("tiny", [tensor("inputs", PIXELS, "FP64")])
    client.infer("tiny", [tensor("inputs", PIXELS, "FP64")], model_version="1")
    time.sleep(0.5)
    page = httpx.get(f"{url}/metrics", timeout=30).text
    for route in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        assert f'mcdrop_requests_total{{method="POST",route="{route}",status="200"}}' in page


def test_models_are_unloaded_and_loaded(client: triton.InferenceServerClient, root: Path) -> None:
    folder = save_random_classifier(root, "other")
    client.load_model("other")
    assert client.is_model_ready("other")
    client.unload_model("other")
    assert not client.is_model_ready("other")
    states = {m["name"]: m["state"] for m in client.get_model_repository_index()}
    assert states == {
        "tiny": "READY",
        "people": "READY",
        "sizes": "READY",
        "other": "UNAVAILABLE",
    }
    with pytest.raises(InferenceServerException, match="unloaded"):
        client.infer("other", [tensor("inputs", PIXELS, "FP64")])
    assert client.infer("tiny", [tensor("inputs", PIXELS, "FP64")])
    client.load_model("other")
    assert client.infer("other", [tensor("inputs", PIXELS, "FP64")])
    (folder / "model.safetensors").write_bytes(b"broken")
    folder.touch()
    client.load_model("other")  # what is loaded goes on
    client.unload_model("other")
    with pytest.raises(InferenceServerException, match="cannot be loaded"):
        client.load_model("other")
    for name in ("../tiny", "..", "none", "x" * 200):
        with pytest.raises(InferenceServerException):
            client.unload_model(name)
    assert client.is_model_ready("tiny")
