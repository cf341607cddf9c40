"""Versions come, go and fail while the server runs."""

import shutil
import time
from pathlib import Path

import httpx

from mcdrop_service.shelf import Shelf
from tests.models import save_random_classifier
from tests.service.asking import PIXELS, ask


def test_a_model_that_fails_fails_alone(client: httpx.Client) -> None:
    answer = ask(client, inputs=PIXELS, model="sick")
    assert answer.status_code == 500
    detail = "model 'sick' version 1 cannot be loaded: see the server's log"
    assert answer.json() == {"detail": detail}
    assert ask(client, inputs=PIXELS, model="tiny").status_code == 200


def test_versions_are_found_while_the_server_runs(client: httpx.Client, root: Path) -> None:
    def becomes(version: int) -> bool:
        """Whether the version takes over, with an answer by one version or another meanwhile."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            answer = ask(client, inputs=PIXELS, model="fresh")
            assert answer.status_code == 200
            if answer.json()["version"] == version:
                return True
            time.sleep(0.05)
        return False

    assert ask(client, inputs=PIXELS, model="fresh").status_code == 404
    first = save_random_classifier(root, "fresh", seed=1)
    assert becomes(1)
    second = save_random_classifier(root, "fresh", seed=2)
    assert becomes(2)
    before = ask(client, inputs=PIXELS, model="fresh").json()
    shutil.rmtree(second)
    assert becomes(1)
    save_random_classifier(root, "fresh", seed=3)  # 2 again, and another network
    assert becomes(2)
    assert ask(client, inputs=PIXELS, model="fresh").json() != before
    shutil.rmtree(first.parent)
    deadline = time.monotonic() + 60
    while ask(client, inputs=PIXELS, model="fresh").status_code != 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_version_that_cannot_be_loaded_says_no_more_than_that(
    client: httpx.Client, root: Path
) -> None:
    folder = save_random_classifier(root, "cut")
    (folder / "model.safetensors").write_bytes(b"")
    answer = ask(client, inputs=PIXELS, model="cut")
    (folder / "card.json").write_text("{")
    listed = client.get("/models").json()["models"]
    shutil.rmtree(folder.parent)
    assert answer.status_code == 500
    assert answer.json()["detail"] == "model 'cut' version 1 cannot be loaded: see the server's log"
    assert "cut" not in {model["name"] for model in listed}


def test_the_only_model_need_not_be_named(tmp_path: Path) -> None:
    save_random_classifier(tmp_path, "only")
    shelf = Shelf(tmp_path)
    shelf.start()
    assert shelf.find(None, None).card.name == "only"


def test_without_keys_nobody_unloads_a_model(client: httpx.Client) -> None:
    for change in ("load", "unload"):
        answer = client.post(f"/v2/repository/models/tiny/{change}")
        assert (answer.status_code, "`repository`" in answer.json()["error"]) == (403, True)
    assert client.get("/v2/models/tiny/ready").status_code == 200
    assert client.post("/v2/repository/index").status_code == 200
