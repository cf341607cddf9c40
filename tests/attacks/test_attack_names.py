"""Names that would lead out of the repository."""

import pytest

from tests.attacks.conftest import PIXELS, Target, refused

NAMES = [
    "../secret",
    "..",
    ".",
    "/etc/passwd",
    "tiny/1",
    "tiny/../tiny",
    "..\\secret",
    "%2e%2e%2fsecret",
    "tiny\0",
    "tiny\n",
    "~root",
    "$HOME",
    "*",
    "@1.1",
    "TINY",
    "ⅈ",
    "a" * 128,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:30])
def test_in_bodies(target: Target, name: str) -> None:
    body = {"inputs": PIXELS.tolist(), "model": name}
    said = refused(target.http.post("/predict", json=body), 404)
    assert "people, tiny" in said  # it lists what may be asked, and nothing else
    assert "secret/" not in said


def test_one_that_is_too_long_for_any_model_is_not_looked_for(target: Target) -> None:
    body = {"inputs": PIXELS.tolist(), "model": "a" * 129}
    assert "128 characters" in refused(target.http.post("/predict", json=body), 422)


ENCODED = [
    "%2e%2e%2fsecret",
    "%2e%2e",
    "..%2fsecret",
    "%252e%252e%252fsecret",
    "tiny%00",
    "%c0%ae%c0%ae%2fsecret",
    "%ff",
    "tiny%2f1",
    "..%5csecret",
    "x" * 5000,
]


@pytest.mark.parametrize("name", ENCODED, ids=lambda name: name[:30])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models/{}/drift"),
        ("GET", "/models/{}/feedback"),
        ("GET", "/v2/models/{}"),
        ("GET", "/v2/models/{}/ready"),
        ("POST", "/v2/models/{}/infer"),
        ("POST", "/v2/repository/models/{}/load"),
        ("POST", "/v2/repository/models/{}/unload"),
        ("GET", "/static/{}"),
    ],
)
def test_in_paths(target: Target, method: str, path: str, name: str) -> None:
    request = f"{method} {path.format(name)} HTTP/1.1\r\nHost: x\r\nX-API-Key: "
    key = target.http.headers["x-api-key"]
    infer = b'{"inputs": [{"name": "inputs", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}'
    body = infer if path.endswith("infer") else b"{}"
    tail = f"\r\nContent-Length: {len(body) * (method == 'POST')}\r\nConnection: close\r\n\r\n"
    content = f"{request}{key}{tail}".encode() + body * (method == "POST")
    status = int(target.raw(content).split(b" ")[1])
    assert status in (400, 404), status


def test_versions_that_are_none(target: Target) -> None:
    for version in ("0", "-1", "1.5", "01x", "9" * 400, "%00", "latest"):
        answer = target.http.get(f"/v2/models/tiny/versions/{version}")
        assert answer.status_code in (404, 422)
    for version in (0, -1, 1.5, "1", True, 10**30, [1]):
        body = {"inputs": PIXELS.tolist(), "model": "tiny", "version": version}
        refused(target.http.post("/predict", json=body), 422)
