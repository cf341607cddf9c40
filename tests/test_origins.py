"""Pages of other origins do nothing through a reader's browser; other programs notice nothing."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse

from mcdrop_service.origins import SameOrigin
from tests.models import save_random_classifier
from tests.serving import serving

HERE, THERE = "http://model.example:8000", "https://evil.example"
FRIEND = "https://friend.example"


async def done(scope: Any, receive: Any, send: Any) -> None:
    await JSONResponse({})(scope, receive, send)


def status(method: str = "POST", *, allowed: tuple[str, ...] = (), **headers: str) -> int:
    async def go() -> int:
        transport = httpx.ASGITransport(SameOrigin(done, allowed))
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            return (await client.request(method, "/", headers=names)).status_code

    return asyncio.run(go())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin", "origin": HERE},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin", "origin": "https://behind.a.proxy"},
        {"origin": HERE},
    ],
)
def test_programs_and_the_servers_own_page_may_ask(headers: dict[str, str]) -> None:
    assert status(**headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site", "origin": THERE},
        {"sec_fetch_site": "same-site", "origin": "http://other.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site", "origin": HERE},
        {"sec_fetch_site": "?"},
        {"origin": THERE},
        {"origin": "null"},
        {"origin": "http://model.example"},
        {"origin": HERE + ".evil.example"},
    ],
)
def test_other_pages_may_look_but_not_act(headers: dict[str, str]) -> None:
    assert status(**headers) == 403
    assert status("PUT", **headers) == 403
    assert status("GET", **headers) == 200


def test_origins_that_cors_names_may_ask() -> None:
    from_there = {"sec_fetch_site": "cross-site", "origin": THERE}
    assert status(allowed=(THERE,), **from_there) == 200
    assert status(allowed=("*",), **from_there) == 200
    assert status(allowed=("https://friend.example",), **from_there) == 403


@pytest.mark.slow
def test_a_real_server_minds_whose_page_asks(tmp_path: Path) -> None:
    """Of other origins, only those that are named are told that they may ask, and may."""
    save_random_classifier(tmp_path)
    with serving(tmp_path, open="health,repository", cors=FRIEND) as url:
        for origin, may in ((FRIEND, True), (THERE, False)):
            headers = {"origin": origin, "sec-fetch-site": "cross-site"}
            asked = headers | {"access-control-request-method": "POST"}
            before = httpx.options(f"{url}/predict", headers=asked)
            body = {"inputs": [[0] * 64]}
            answer = httpx.post(f"{url}/predict", json=body, headers=headers, timeout=30)
            assert (before.status_code, answer.status_code) == ((200, 200) if may else (400, 403))
            for one in (before, answer):
                allowed = one.headers.get("access-control-allow-origin")
                assert allowed == (FRIEND if may else None)
        unload = f"{url}/v2/repository/models/tiny/unload"
        assert httpx.post(unload, headers={"origin": THERE}).status_code == 403
        assert httpx.get(f"{url}/v2/models/tiny/ready").status_code == 200
        assert httpx.post(unload).status_code == 200
