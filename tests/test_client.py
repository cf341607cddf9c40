"""The clients, against a server that is told what to answer."""

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

import mcdrop
from mcdrop.client import asynchronous, synchronous
from mcdrop.errors import InputError, McdropError, RepositoryError, ServiceError
from mcdrop.packing import CONTENT_TYPE, pack
from mcdrop.predictions import ClassPredictions
from tests.models import random_pixels, save_random_classifier

PIXELS = random_pixels(3)
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ClassPredictions:
    predictor = mcdrop.load(save_random_classifier(tmp_path_factory.mktemp("models")))
    return predictor.predict(PIXELS)  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the clients have waited, without waiting."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(synchronous.time, "sleep", waited.append)
    monkeypatch.setattr(asynchronous.asyncio, "sleep", sleep)
    return waited


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Call a method of either client on a server that is a function."""

    def synchronously(handler: Handler, method: str, *args: Any, **options: Any) -> Any:
        transport = httpx.MockTransport(handler)
        with mcdrop.Client(model="tiny", key="k", transport=transport) as client:
            result = getattr(client, method)(*args, **options)
            return list(result) if isinstance(result, Iterator) else result

    def asynchronously(handler: Handler, method: str, *args: Any, **options: Any) -> Any:
        async def go() -> Any:
            transport = httpx.MockTransport(handler)
            async with mcdrop.AsyncClient(model="tiny", key="k", transport=transport) as client:
                result = getattr(client, method)(*args, **options)
                return [x async for x in result] if method == "stream" else await result

        return asyncio.run(go())

    return synchronously if request.param == "sync" else asynchronously


def assert_same(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    for field in fields(one):
        if field.name != "deterministic":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))


def test_numbers_go_as_bytes_and_answers_are_the_predictor_s_type(
    call: Callable[..., Any], found: ClassPredictions
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/predict")
        assert request.headers["content-type"] == "application/x-npy"
        assert request.headers["accept"] == CONTENT_TYPE
        assert request.headers["x-api-key"] == "k"
        assert request.headers["x-request-id"] == "mine"
        assert dict(request.url.params) == {
            "model": "tiny",
            "samples": "57",
            "seed": "3",
            "level": "0.8",
        }
        np.testing.assert_array_equal(np.load(io.BytesIO(request.content)), PIXELS)
        return httpx.Response(200, content=pack(found))

    answer = call(handler, "predict", PIXELS, 57, 3, level=0.8, request_id="mine")
    assert_same(answer, found)


def test_records_images_and_tables_go_as_they_should(
    call: Callable[..., Any], found: ClassPredictions
) -> None:
    came: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        came.append(request)
        return httpx.Response(200, content=pack(found))

    call(handler, "predict", [{"age": 3, "job": None}], model="people", version=2)
    call(handler, "predict", [b"\x89PNG"])
    call(handler, "predict", pa.table({"age": [3.0]}))
    records, images, table = came
    assert json.loads(records.content) == {
        "records": [{"age": 3, "job": None}],
        "model": "people",
        "version": 2,
        "seed": 0,
    }
    assert base64.b64decode(json.loads(images.content)["images"][0]) == b"\x89PNG"
    assert table.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert pa.ipc.open_stream(table.content).read_all().to_pydict() == {"age": [3.0]}


@pytest.mark.parametrize(
    ("answers", "waited"),
    [
        ([429, 503], [7.0, 7.0]),
        (["refused", 502], [0.2, 7.0]),
        (["refused", "refused", "refused"], [0.2, 0.4, 0.8]),
    ],
)
def test_a_busy_server_is_asked_again_when_it_says(
    call: Callable[..., Any],
    found: ClassPredictions,
    waits: list[float],
    answers: list[Any],
    waited: list[float],
) -> None:
    left = list(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        if not left:
            return httpx.Response(200, content=pack(found))
        status = left.pop(0)
        if status == "refused":
            raise httpx.ConnectError("refused")
        return httpx.Response(status, headers={"retry-after": "7"}, json={"detail": "busy"})

    assert_same(call(handler, "predict", PIXELS), found)
    assert waits == waited


def test_a_server_that_stays_busy_is_given_up(call: Callable[..., Any], waits: list[float]) -> None:
    with pytest.raises(ServiceError, match=r"busy \(status 503\)"):
        call(lambda _: httpx.Response(503, json={"detail": "busy"}), "predict", PIXELS)
    assert len(waits) == 3

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    with pytest.raises(ServiceError, match="no answer came"):
        call(handler, "predict", PIXELS)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, InputError) for status in (400, 413, 422)),
        (404, RepositoryError),
        *((status, ServiceError) for status in (401, 500, 504)),
    ],
)
def test_refusals_are_the_library_s_errors_and_final(
    call: Callable[..., Any], waits: list[float], status: int, kind: type[McdropError]
) -> None:
    with pytest.raises(kind, match=f"this is why .status {status}"):
        call(lambda _: httpx.Response(status, json={"detail": "this is why"}), "predict", PIXELS)
    with pytest.raises(kind):
        call(lambda _: httpx.Response(status, content=b"\xff<html>"), "predict", PIXELS)
    assert not waits


@pytest.mark.parametrize("rows", ["text", [["a"]], [[1], [2, 3]], 3.0, [{"age": object()}]])
def test_what_are_no_rows_is_refused_before_anything_is_sent(
    call: Callable[..., Any], rows: Any
) -> None:
    with pytest.raises(InputError):
        call(lambda _: pytest.fail("sent"), "predict", rows)


def test_another_answer_than_predictions_is_told(call: Callable[..., Any]) -> None:
    with pytest.raises(ServiceError, match="cannot be read"):
        call(lambda _: httpx.Response(200, json={"model": "tiny"}), "predict", PIXELS)


def events(*parts: tuple[str, bytes]) -> httpx.Response:
    lines = [f"event: {name}\ndata: {data.decode()}\n\n" for name, data in parts]
    return httpx.Response(200, text="".join(lines), headers={"content-type": "text/event-stream"})


def test_a_stream_gives_each_estimate(call: Callable[..., Any], found: ClassPredictions) -> None:
    data = base64.b64encode(pack(found))

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/predict/stream"
        assert request.url.params["tolerance"] == "0.01"
        return events(("estimate", data), ("estimate", data), ("done", b"{}"))

    answers = call(handler, "stream", PIXELS, tolerance=0.01)
    assert len(answers) == 2
    assert_same(answers[1], found)


def test_a_stream_that_does_not_end_well_is_told(
    call: Callable[..., Any], found: ClassPredictions
) -> None:
    data = base64.b64encode(pack(found))
    with pytest.raises(ServiceError, match="cut short"):
        call(lambda _: events(("estimate", data)), "stream", PIXELS)
    failed = events(("estimate", data), ("error", b'{"detail": "worker died"}'))
    with pytest.raises(ServiceError, match="worker died"):
        call(lambda _: failed, "stream", PIXELS)
    refused = httpx.Response(422, json={"detail": "too wide"})
    with pytest.raises(InputError, match="too wide"):
        call(lambda _: refused, "stream", PIXELS)


def test_models_and_feedback(call: Callable[..., Any]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/models":
            return httpx.Response(200, json={"models": [{"name": "tiny"}]})
        assert json.loads(request.content) == {"request_id": "mine", "labels": ["3", None]}
        return httpx.Response(200, json={"taken": 1})

    assert call(handler, "models") == [{"name": "tiny"}]
    assert call(handler, "feedback", "mine", ["3", None]) == 1


def test_the_client_does_without_the_service() -> None:
    for path in (Path(synchronous.__file__).parent).glob("*.py"):
        assert "mcdrop_service" not in path.read_text()
