"""A server with everything switched on: keys, metrics, drift, feedback, levels; and its clients."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import mcdrop
from mcdrop.calibration import row_epistemic
from mcdrop.drift import compare
from mcdrop.errors import InputError, RepositoryError, ServiceError
from mcdrop.predictions import ClassPredictions, ValuePredictions
from mcdrop_service.keys import make
from tests.models import PEOPLE, SIZES, random_pixels, save_random_classifier, save_table_model
from tests.serving import serving

PIXELS = random_pixels(3)
KEY, LINE = make("alice")
SLOW, SLOW_LINE = make("slow", 0.2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_random_classifier(folder)
    save_random_classifier(folder, "drifting", seed=2)
    save_random_classifier(folder, "labeled", seed=3)
    save_random_classifier(folder, "stale", seed=4)
    latest = save_random_classifier(folder, "stale", seed=5)
    (latest / "model.safetensors").write_bytes(b"broken")
    save_table_model(folder, "people", PEOPLE, classes=("no", "yes"))
    save_table_model(folder, "sizes", SIZES, targets=("mass", "price"))
    return folder


@pytest.fixture(scope="module")
def url(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {
        "keys": f"{LINE},{SLOW_LINE}",
        "open": "health,metrics",
        "workers": 2,
        "rows": 60,
        "drift_rows": 60,
        "feedback": tmp_path_factory.mktemp("feedback") / "feedback.db",
        "adaptive": 0.05,
        "log": "json",
    }
    with serving(root, **settings) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[mcdrop.Client]:
    with mcdrop.Client(url, model="tiny", key=KEY) as found:
        yield found


def http(url: str, path: str, **options: Any) -> httpx.Response:
    return httpx.get(url + path, headers={"x-api-key": KEY}, timeout=30, **options)


def samples(url: str) -> dict[tuple[str, ...], float]:
    """The page of metrics, by name and labels in the order of their names."""
    time.sleep(0.5)  # an API process writes down what it has counted a few times a second
    page = httpx.get(f"{url}/metrics", timeout=30)
    assert page.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }


def assert_same(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    for field in fields(one):
        if field.name != "deterministic":
            first, second = getattr(one, field.name), getattr(two, field.name)
            np.testing.assert_array_equal(first, second, err_msg=field.name)


def test_the_client_gets_what_the_library_gives(client: mcdrop.Client, root: Path) -> None:
    found = client.predict(PIXELS, 57, 9, level=0.8, risk=0.2)
    assert_same(found, mcdrop.load(root / "tiny").predict(PIXELS, 57, 9, level=0.8, risk=0.2))
    records = [{"age": 30, "job": None}, {"job": "smith"}]
    people = client.predict(records, model="people", level=0.9)
    assert_same(people, mcdrop.load(root / "people").predict(records))
    rows = np.array([[1.5, 2.5], [np.nan, 1.0]])
    sizes = client.predict(rows, model="sizes", level=0.9)
    assert isinstance(sizes, ValuePredictions)
    assert_same(sizes, mcdrop.load(root / "sizes").predict(rows))
    assert {model["name"] for model in client.models()} == {
        *("tiny", "drifting", "labeled", "people", "sizes", "stale")
    }


def test_the_client_asks_for_as_many_passes_as_rows_need(client: mcdrop.Client, root: Path) -> None:
    expected = mcdrop.load(root / "tiny").predict(PIXELS, "auto", tolerance=0.02, level=0.9)
    assert expected.passes is not None
    for found in (
        client.predict(PIXELS, "auto", tolerance=0.02, level=0.9),
        [*client.stream(PIXELS, "auto", tolerance=0.02, level=0.9)][-1],
    ):
        assert_same(found, expected)


def test_the_client_streams_in_step_with_the_library(url: str, root: Path) -> None:
    async def go() -> list[Any]:
        async with mcdrop.AsyncClient(url, model="tiny", key=KEY) as client:
            return [found async for found in client.stream(PIXELS, 40, level=0.9)]

    answers = asyncio.run(go())
    assert [found.samples for found in answers] == [8, 16, 32, 40]
    last = mcdrop.load(root / "tiny").predict(PIXELS, 40)
    np.testing.assert_allclose(answers[-1].mean, last.mean, rtol=1e-5)


def test_the_client_s_failures_are_the_library_s(client: mcdrop.Client, url: str) -> None:
    with pytest.raises(InputError, match=r"wanted \(rows, 64\)"):
        client.predict(PIXELS[:, :5])
    with pytest.raises(RepositoryError, match="'none'"):
        client.predict(PIXELS, model="none")
    with (
        mcdrop.Client(url, model="tiny", key="wrong") as stranger,
        pytest.raises(ServiceError, match="401"),
    ):
        stranger.predict(PIXELS)


def test_every_route_wants_a_key_but_the_open_ones(url: str) -> None:
    for path in ("/", "/docs", "/openapi.json", "/models", "/info", "/v2", "/static/app.js"):
        assert httpx.get(url + path).status_code == 401, path
    for path in ("/predict", "/predict/stream", "/feedback", "/v2/models/tiny/infer"):
        answer = httpx.post(url + path, content=b"{")
        assert answer.status_code == 401, path
        assert answer.headers["x-request-id"]
    for path in ("/health", "/health/live", "/v2/health/ready", "/metrics"):
        assert httpx.get(url + path).status_code == 200, path


def test_models_are_unloaded_and_loaded_with_a_key(url: str, client: mcdrop.Client) -> None:
    for change in ("unload", "load"):
        path = f"{url}/v2/repository/models/people/{change}"
        assert httpx.post(path).status_code == 401
        assert client.predict([{"age": 30}], model="people") is not None
        assert httpx.post(path, headers={"x-api-key": KEY}, timeout=30).status_code == 200
        ready = http(url, "/v2/models/people/ready").status_code
        assert ready == (503 if change == "unload" else 200)
        httpx.post(path.replace("unload", "load"), headers={"x-api-key": KEY}, timeout=30)


def test_the_rows_of_a_request_are_bounded_by_a_setting(url: str, client: mcdrop.Client) -> None:
    client.predict(random_pixels(60))
    with pytest.raises(InputError, match=r"wanted .*60"):
        client.predict(random_pixels(61))
    body = {"inputs": [{"name": "inputs", "datatype": "FP64", "shape": [61, 1], "data": [0] * 61}]}
    headers = {"x-api-key": KEY}
    answer = httpx.post(f"{url}/v2/models/tiny/infer", json=body, headers=headers)
    assert (answer.status_code, "wanted 1 to 60" in answer.json()["error"]) == (400, True)
    schema = http(url, "/openapi.json").json()["components"]["schemas"]["PredictRequest"]
    assert schema["properties"]["inputs"]["anyOf"][0]["maxItems"] == 60


def test_a_key_that_asks_too_often_waits(url: str) -> None:
    answers = [httpx.get(f"{url}/models", headers={"x-api-key": SLOW}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 5


def test_metrics_are_those_of_all_processes(url: str, client: mcdrop.Client) -> None:
    before = samples(url)
    client.predict(PIXELS, 40)
    with pytest.raises(InputError):
        client.predict(PIXELS[:, :3])
    after = samples(url)

    def more(*key: str) -> float:
        return after.get(key, 0.0) - before.get(key, 0.0)

    assert more("mcdrop_rows_total", "tiny", "1") == 3
    assert more("mcdrop_passes_total", "tiny", "1") == 120
    assert more("mcdrop_confidence_count", "tiny", "1") == 3
    assert more("nv_inference_request_success", "tiny", "1") == 1
    assert more("mcdrop_requests_total", "POST", "/predict", "200") == 1
    assert more("mcdrop_requests_total", "POST", "/predict", "422") == 1
    assert more("mcdrop_request_seconds_count", "/predict") == 2
    assert after["mcdrop_pending_requests",] == 0


def test_failures_are_counted_by_what_failed(url: str, client: mcdrop.Client) -> None:
    before = samples(url)
    for _ in range(2):
        with pytest.raises(InputError):
            client.predict(PIXELS[:, :3])
    with pytest.raises(RepositoryError):
        client.predict(PIXELS, model="none")
    with pytest.raises(ServiceError, match="cannot be loaded"):
        client.predict(PIXELS, model="stale", version=2)
    after = samples(url)
    name = "mcdrop_failures_total"
    more = {key: n - before.get(key, 0.0) for key, n in after.items() if key[0] == name}
    triton = "nv_inference_request_failure"
    assert {key[1:]: n for key, n in after.items() if key[0] == triton} == {
        key[1:]: n for key, n in after.items() if key[0] == name
    }
    assert {key[1:]: n for key, n in more.items() if n} == {
        ("input", "tiny", "1"): 2,
        ("absent", "", ""): 1,
        ("model", "stale", "2"): 1,
    }


def test_what_is_told_of_a_model_is_told_of_the_version_that_answers(
    url: str, client: mcdrop.Client
) -> None:
    """The latest is broken, and the one before it goes on answering."""
    for _ in range(20):
        client.predict(PIXELS, model="stale")
    told = http(url, "/models/stale/drift").json()
    assert (told["version"], told["rows"]) == (1, 60)
    assert http(url, "/models/stale/drift?version=2").json()["rows"] == 0
    assert http(url, "/models/stale/feedback").json()["version"] == 1
    flags = {m["version"]: m["latest"] for m in client.models() if m["name"] == "stale"}
    assert flags == {1: True, 2: False}


def test_drift_is_told_and_measured(url: str, client: mcdrop.Client, root: Path) -> None:
    assert http(url, "/models/drifting/drift").json()["p_value"] is None
    rows = random_pixels(50, seed=4)
    for start in range(0, 50, 10):
        client.predict(rows[start : start + 10], model="drifting")
    client.predict(rows, 7, model="drifting")  # of other passes: cannot be compared
    told = http(url, "/models/drifting/drift").json()
    predictor = mcdrop.load(root / "drifting")
    live = row_epistemic(predictor.predict(rows))
    expected = compare(live, predictor.reference.epistemic)
    assert (told["rows"], told["reference_rows"]) == (50, 50)
    assert told["statistic"] == pytest.approx(expected.statistic, abs=0.021)  # one row's worth
    assert told["p_value"] < 1e-6  # the test models' references are made up
    assert samples(url)["mcdrop_drift_p_value", "drifting", "1"] == told["p_value"]
    assert http(url, "/models/none/drift").status_code == 404


def test_labels_make_a_report_and_move_the_level(url: str, client: mcdrop.Client) -> None:
    rows = random_pixels(40, seed=5)
    found = client.predict(rows, model="labeled", request_id="for-feedback")
    assert isinstance(found, ClassPredictions)
    assert found.level == pytest.approx(0.9)
    outside = [
        str(int(np.flatnonzero(~r)[0])) if not r.all() else None for r in found.prediction_set
    ]
    missed = sum(label is not None for label in outside)
    assert missed > 5
    assert told_when_kept(client, "for-feedback", outside) == missed
    assert client.feedback("for-feedback", outside) == 0
    report = http(url, "/models/labeled/feedback").json()
    assert report["rows"] == missed
    assert (report["scores"]["coverage"], report["adaptive"]["coverage"]) == (0.0, 0.0)
    assert report["adaptive"]["level"] > 0.99
    time.sleep(0.6)  # as long as a worker relies on a level
    assert client.predict(rows, model="labeled").level == pytest.approx(report["adaptive"]["level"])
    assert client.predict(rows, model="labeled", level=0.7).level == 0.7
    with pytest.raises(InputError, match="wanted 40"):
        client.feedback("for-feedback", ["1"])
    with pytest.raises(RepositoryError):
        client.feedback("unheard-of", ["1"])
    report = http(url, "/models/tiny/feedback").json()
    assert report["scores"] == report["targets"] == {}


def test_several_targets_have_a_report_each(url: str, client: mcdrop.Client) -> None:
    rows = np.zeros((3, 2))
    found = client.predict(rows, model="sizes", request_id="of-sizes")
    labels = [{"mass": mass, "price": price + 100} for mass, price in found.mean.tolist()]
    assert told_when_kept(client, "of-sizes", labels) == 3
    targets = http(url, "/models/sizes/feedback").json()["targets"]
    errors = {name: scores["rmse"] for name, scores in targets.items()}
    assert errors == pytest.approx({"mass": 0, "price": 100})


def told_when_kept(client: mcdrop.Client, request: str, labels: list[Any]) -> int:
    """Answers are kept a moment after they are given."""
    for _ in range(50):
        try:
            return client.feedback(request, labels)
        except RepositoryError:
            time.sleep(0.1)
    raise TimeoutError("the answer was never kept")
