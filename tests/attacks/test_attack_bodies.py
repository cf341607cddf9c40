"""Bodies made to cost more than they are worth."""

import asyncio
import gzip
import io
import json
import zipfile
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from tests.attacks.conftest import PIXELS, Target, refused

JSON = {"content-type": "application/json"}
MIB = 2**20


@pytest.mark.parametrize("path", ["/predict", "/v2/models/tiny/infer"])
def test_a_decompression_bomb_is_let_out_no_further_than_a_body_may_be_long(
    target: Target, path: str
) -> None:
    bomb = gzip.compress(b"0" * (1024 * MIB // 4), 9)
    assert len(bomb) < MIB
    before = target.memory()
    for content in (bomb, gzip.compress(bomb)):
        answer = target.http.post(
            path, content=content, headers={**JSON, "content-encoding": "gzip"}
        )
        refused(answer, 400, 413)
    assert target.memory() - before < 150 * MIB


def test_bodies_that_only_say_that_they_are_compressed(target: Target) -> None:
    good = json.dumps({"inputs": PIXELS.tolist(), "model": "tiny"}).encode()
    for content in (good, gzip.compress(good)[:-9], zlib.compress(good), b"", b"\x1f\x8b"):
        headers = {**JSON, "content-encoding": "gzip"}
        refused(target.http.post("/predict", content=content, headers=headers), 400, 422)
    for encoding in ("br", "deflate", "gzip, gzip", "zstd", "x" * 1000):
        headers = {**JSON, "content-encoding": encoding}
        refused(target.http.post("/predict", content=good, headers=headers), 415)


HUGE_INT = "9" * 100_000
DEEP, PEED = "[" * 200_000, "]" * 200_000
MANY = ",".join(f'"k{i}": 1' for i in range(50_000))


@pytest.mark.parametrize(
    "body",
    [
        '{"inputs": [[NaN]], "model": "tiny"}',
        '{"inputs": [[Infinity]], "model": "tiny"}',
        '{"inputs": [[-1e999]], "model": "tiny"}',
        f'{{"inputs": [[{HUGE_INT}]], "model": "tiny"}}',
        f'{{"inputs": [[1]], "model": "tiny", "seed": {HUGE_INT}}}',
        '{"inputs": [[1]], "model": "tiny", "samples": 1e308}',
        '{"inputs": [[1]], "model": "tiny", "level": NaN}',
        f'{{"inputs": {DEEP}',
        f'{{"inputs": {DEEP}{PEED}}}',
        f'{{"records": [{{"age": {DEEP}1{PEED}}}], "model": "people"}}',
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        f'{{"records": [{{{MANY}}}], "model": "people"}}',
        f'{{"inputs": [[1]], {MANY}}}',
        '{"inputs": [[]' + ",[]" * 100_000 + "]}",
        '{"inputs": "' + "A" * MIB + '"}',
        '{"model": "tiny", "inputs": [[0]], "fields": ["__class__", "__dict__"]}',
        "\x00" * 1000,
        '"' + "\\ud800" * 1000 + '"',
    ],
    ids=lambda body: body[:40],
)
def test_json_that_is_not_what_it_should_be(target: Target, body: str) -> None:
    for path in ("/predict", "/predict/stream", "/v2/models/tiny/infer", "/feedback"):
        refused(target.http.post(path, content=body.encode(), headers=JSON), 400, 413, 422)


@pytest.mark.parametrize(
    "kind",
    ["", "text/html", "multipart/form-data; boundary=x", "application/x-pickle", "json", "*/*"],
)
def test_other_types_are_not_guessed_at(target: Target, kind: str) -> None:
    content = json.dumps({"inputs": PIXELS.tolist(), "model": "tiny"}).encode()
    refused(target.http.post("/predict", content=content, headers={"content-type": kind}), 415)


def npy(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", npy(PIXELS))
    return stream.getvalue()


class Payload:
    """What would run where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("Traceback: unpickled",))


LYING = npy(np.zeros((2, 64))).replace(b"(2, 64)", b"(2, 65)")
CODE = npy(np.zeros((2, 64))).replace(b"'shape': (2, 64), }", b"'shape': exit(),  }")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/x-npy", npy(np.array([Payload()], dtype=object), allow_pickle=True)),
        ("application/x-npy", LYING),
        ("application/x-npy", CODE),
        ("application/x-npy", npz()),
        ("application/x-npy", npy(np.zeros(()))),
        ("application/x-npy", npy(np.array(["a"] * 64))),
        ("application/x-npy", b"\x93NUMPY\x01\x00\xff\xff"),
        ("application/octet-stream", b"x" * 255),
        ("application/octet-stream", np.full(64, np.nan, "<f4").tobytes()),
        ("application/octet-stream", np.full(64, np.inf, "<f4").tobytes()),
        ("application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
        ("application/vnd.apache.arrow.stream", b"ARROW1\0\0" * 100),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:6].hex(),
)
def test_binary_bodies_that_lie(target: Target, kind: str, content: bytes) -> None:
    answer = target.http.post(
        "/predict?model=tiny", content=content, headers={"content-type": kind}
    )
    refused(answer, 400, 422)


def test_shapes_that_overflow(target: Target) -> None:
    for shape in ("4294967296,4294967296", "-1,64", "0,64", "1,64,1,1", "64", "1e2", "١,٦٤"):
        headers = {"content-type": "application/octet-stream", "x-shape": shape.encode()}
        content = np.zeros(64, "<f4").tobytes()
        answer = target.http.post("/predict?model=tiny", content=content, headers=headers)
        refused(answer, 422)


def test_tensors_that_lie_about_their_size(target: Target) -> None:
    for size, shape in [(2**62, [1, 64]), (512, [2**31 - 1, 2**31 - 1]), (-8, [1, 1])]:
        tensor = {"name": "inputs", "shape": shape, "datatype": "FP64"}
        tensor["parameters"] = {"binary_data_size": size}
        head = json.dumps({"inputs": [tensor]}).encode()
        answer = target.http.post(
            "/v2/models/tiny/infer",
            content=head + b"\0" * 512,
            headers={"inference-header-content-length": str(len(head))},
        )
        refused(answer, 400)


def test_many_large_bodies_at_once_do_not_pile_up(target: Target) -> None:
    async def go() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=target.url, headers=dict(target.http.headers), timeout=60
        ) as client:
            jobs = [
                client.post("/predict", content=b" " * 15 * MIB, headers=JSON) for _ in range(8)
            ]
            return await asyncio.gather(*jobs)

    before = target.memory()
    for answer in asyncio.run(go()):
        refused(answer, 400, 422, 503, 504)
    assert target.memory() - before < 400 * MIB
