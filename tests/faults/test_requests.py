"""Requests at fault harm nobody else; every answer names its request."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.faults.asking import PROCESSES, ROW, TINY

pytestmark = PROCESSES


def test_one_bad_item_among_six_fails_alone(client: httpx.Client) -> None:
    bodies = [TINY] * 5 + [{"inputs": [[1.0]], "model": "tiny"}]
    for _ in range(5):
        with ThreadPoolExecutor(6) as pool:
            statuses = [
                r.status_code for r in pool.map(lambda b: client.post("/predict", json=b), bodies)
            ]
        assert statuses == [200] * 5 + [422]


@pytest.mark.parametrize(
    ("content", "status"),
    [(b'{"inputs": [[', 400), (b'{"model": "tiny", "inputs": [[NaN]], "samples": 0}', 422)],
)
def test_malformed_json_and_nan_are_the_callers_fault(
    client: httpx.Client, content: bytes, status: int
) -> None:
    answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])


def test_binary_bodies_and_their_faults(client: httpx.Client) -> None:
    x = np.array(ROW, np.float32)
    kind = {"content-type": "application/octet-stream"}
    query = "/predict?model=tiny&fields=prediction"
    good = client.post(query, content=x.tobytes(), headers=kind | {"x-shape": "1,64"})
    plain = client.post("/predict", json={**TINY, "fields": ["prediction"]})
    assert good.json() == plain.json()
    short = client.post(query, content=x.tobytes()[:-1], headers=kind)
    assert (short.status_code, "4 bytes a number" in short.json()["detail"]) == (422, True)


def test_the_openapi_page_stands(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert "PredictRequest" in schema["components"]["schemas"]


def test_every_answer_names_its_request(client: httpx.Client) -> None:
    ids = {client.post("/predict", json=TINY).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
