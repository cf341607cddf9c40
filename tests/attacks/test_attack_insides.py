"""Keys, and what the server tells of itself."""

import httpx
import pytest

from tests.attacks.conftest import KEY, LINE, PIXELS, Target, refused

BODY = {"inputs": PIXELS.tolist(), "model": "tiny"}


def test_keys_are_not_found_bit_by_bit(target: Target) -> None:
    """Whatever is near the key is as wrong as anything else, and is told in the same words."""
    digest = LINE.split(":")[1]
    near = [KEY[:-1], KEY + "A", KEY.lower(), KEY[::-1], "", digest, LINE, "*", "null"]
    answers = [
        httpx.post(target.url + "/predict", json=BODY, headers={"x-api-key": guess})
        for guess in near
    ]
    assert len({refused(answer, 401) for answer in answers}) == 1
    for answer in answers:
        assert KEY not in answer.text
        assert digest not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/predict",
        "//predict",
        "/predict/",
        "/./predict",
        "/health/../predict",
        "/health/%2e%2e/models",
        "/PREDICT",
        "/models",
        "/docs",
        "/openapi.json",
        "/metrics",
        "/none",
        "/v2/health/../models",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE"])
def test_no_path_goes_round_the_guard(target: Target, method: str, path: str) -> None:
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    status = int(target.raw(request.encode()).split(b" ")[1])
    assert status in (401, 404, 405), status


def test_nobody_shuts_the_server_down(target: Target) -> None:
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {KEY}"}):
        for path in ("/shutdown", "/restart", "/v2/shutdown"):
            answer = target.http.post(path, headers=headers)
            assert answer.status_code in (401, 404)


def test_nothing_is_told_of_the_insides(target: Target) -> None:
    for path in ("/none", "/models/none/drift", "/v2/none", "/static/none", "/.git/config"):
        refused(target.http.get(path), 404)
    for method in ("PUT", "PATCH", "DELETE"):
        refused(target.http.request(method, "/predict"), 405)
    for headers in (target.http.get("/health").headers, target.http.get("/none").headers):
        assert "server" not in headers
        assert "x-powered-by" not in headers


def test_other_origins_pages_may_not_ask(target: Target) -> None:
    evil = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for method, path in (("OPTIONS", "/predict"), ("GET", "/models"), ("GET", "/health")):
        answer = target.http.request(method, path, headers=evil)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_one_caller_cannot_label_what_was_never_answered(target: Target) -> None:
    sql = "x' OR '1'='1"
    refused(target.http.post("/feedback", json={"request_id": sql, "labels": ["1"]}), 404)
    many = {"request_id": "x", "labels": ["1"] * 100_000}
    refused(target.http.post("/feedback", json=many), 422)
