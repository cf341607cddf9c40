"""What is refused, and with which words; good requests beside bad ones are not disturbed."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mcdrop_service.limits import BODY_BYTES, EVALUATIONS, ROWS
from tests.service.asking import PIXELS, ask, same


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
