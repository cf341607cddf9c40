"""What the page is made of: files of its own, and examples of the repository."""

import re
from pathlib import Path

import httpx

from mcdrop.repository import load_examples, read_card

FOLDER = Path(__file__).parents[2] / "service/mcdrop_service/page"


def test_the_files_name_nobody_else_and_bring_no_inline_code(url: str) -> None:
    for path in FOLDER.iterdir():
        text = path.read_text()
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name
        assert len(text.splitlines()) < 250, path.name
    index = httpx.get(url)
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=|javascript:", index.text)
    for response in (index, httpx.get(f"{url}static/app.js"), httpx.get(f"{url}static/base.css")):
        policy = response.headers.get_list("content-security-policy")
        assert len(policy) == 1
        assert policy[0].startswith("default-src 'self';")
        assert "unsafe" not in policy[0]
        assert response.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{url}static/app.js", headers={"if-none-match": response_tag(url)})
    assert again.status_code == 304
    for path in ("static/none.js", "static/../playground.py", "static/%2e%2e/playground.py"):
        assert httpx.get(url + path).status_code == 404


def response_tag(url: str) -> str:
    return httpx.get(f"{url}static/app.js").headers["etag"]


def test_examples_are_the_repository_s(url: str, root: Path) -> None:
    folder = root / "digits/1"
    served = httpx.get(f"{url}models/digits/versions/1/examples").json()
    kept = load_examples(folder, read_card(folder))
    assert served == kept.model_dump(mode="json")
    assert httpx.get(f"{url}models/pets/versions/1/examples").json() == {"rows": [], "labels": []}
    for path in ("none/versions/1", "digits/versions/9", "digits/versions/-1", "..%2Fx/versions/1"):
        assert httpx.get(f"{url}models/{path}/examples").status_code == 404
