"""Versions come, go and break on disk; what is served changes only for one that can answer."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mcdrop.errors import RepositoryError
from mcdrop_service import shelf as module
from mcdrop_service.ask import RefusedError
from mcdrop_service.marks import unloaded
from mcdrop_service.shelf import LoadingError, Shelf
from tests.models import save_random_classifier, sicken


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.05)


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(root: Path, **options: object) -> Shelf:
    shelf = Shelf(root, **options)  # type: ignore[arg-type]
    shelf.start()
    return shelf


def find(shelf: Shelf, model: str | None, version: int | None = None) -> int:
    """The version that is found, if need be after it has been loaded."""
    try:
        return shelf.find(model, version).card.version
    except LoadingError as loading:
        loading.done.result(10)
        return shelf.find(model, version).card.version


def test_the_latest_is_served_and_others_are_loaded_when_asked_for(tmp_path: Path) -> None:
    save_random_classifier(tmp_path, "a")
    save_random_classifier(tmp_path, "a")
    shelf = started(tmp_path)
    assert shelf.find("a", None).card.version == 2
    with pytest.raises(LoadingError):
        shelf.find("a", 1)
    assert find(shelf, "a", 1) == 1
    assert shelf.find("a", 1) is shelf.find("a", 1)


def test_a_new_version_takes_over_once_it_can_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    save_random_classifier(tmp_path, "a")
    shelf = started(tmp_path)
    assert not caplog.messages
    save_random_classifier(tmp_path, "a", seed=1)
    until(lambda: shelf.find("a", None).card.version == 2)  # never an error meanwhile
    assert caplog.messages == ["a is served by version 2, no longer by 1"]
    shutil.rmtree(tmp_path / "a" / "2")
    until(lambda: shelf.find("a", None).card.version == 1)
    save_random_classifier(tmp_path, "a", seed=3)  # 2 again, and another network
    until(lambda: shelf.find("a", None).card.version == 2)
    shutil.rmtree(tmp_path / "a")
    until(lambda: not shelf.state.served)
    with pytest.raises(RepositoryError, match="no trained model"):
        shelf.find("a", None)


@pytest.mark.parametrize("sick", [True, False])
def test_a_broken_version_is_refused_and_the_old_one_goes_on(tmp_path: Path, sick: bool) -> None:
    save_random_classifier(tmp_path, "a")
    shelf = started(tmp_path)
    folder = save_random_classifier(tmp_path / "elsewhere", "a", seed=1)
    if sick:
        sicken(folder)
    else:
        (folder / "model.safetensors").write_bytes(b"")
    folder.rename(tmp_path / "a" / "2")
    until(lambda: shelf.state.broken == [("a", 2)])
    assert shelf.find("a", None).card.version == 1
    with pytest.raises(RefusedError, match="version 2 cannot be loaded") as refused:
        shelf.find("a", 2)
    assert refused.value.status == 500
    shutil.rmtree(tmp_path / "a" / "2")
    save_random_classifier(tmp_path, "a", seed=2)  # mended: the same number, other files
    until(lambda: shelf.find("a", None).card.version == 2)
    assert shelf.state.broken == []


def test_a_pinned_version_is_served_though_there_are_later_ones(tmp_path: Path) -> None:
    for _ in range(3):
        save_random_classifier(tmp_path, "a")
    save_random_classifier(tmp_path, "b")
    shelf = started(tmp_path, pins={"a": 2})
    assert shelf.state.served == {"a": 2, "b": 1}
    assert find(shelf, "a") == 2
    assert find(shelf, "a", 3) == 3


def test_an_unloaded_model_is_not_there_until_it_is_loaded(tmp_path: Path) -> None:
    root, marks = tmp_path / "models", tmp_path / "marks"
    save_random_classifier(root, "a")
    save_random_classifier(root, "b")
    shelf = started(root, marks=marks)
    unloaded(marks, "a", yes=True)
    shelf.look().result(10)
    assert shelf.state.served == {"b": 1}
    for version in (None, 1):
        with pytest.raises(RefusedError, match="'a' is unloaded"):
            shelf.find("a", version)
    assert find(shelf, None) == 1  # the only one left
    unloaded(marks, "a", yes=False)
    shelf.look().result(10)
    assert find(shelf, "a") == 1


def test_a_model_has_to_be_named_where_there_are_several(tmp_path: Path) -> None:
    save_random_classifier(tmp_path, "a")
    shelf = started(tmp_path)
    assert shelf.find(None, None).card.name == "a"
    save_random_classifier(tmp_path, "b")
    shelf.look().result(10)
    with pytest.raises(RefusedError, match="one of those trained: a, b"):
        shelf.find(None, None)


def test_no_more_than_some_versions_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PREDICTORS", 2)
    for _ in range(4):
        save_random_classifier(tmp_path, "a")
    shelf = started(tmp_path)
    for version in (1, 2, 3, 1):
        assert find(shelf, "a", version) == version
    assert len(shelf._kept) == 2


def test_a_repository_of_which_nothing_can_be_served_is_refused(tmp_path: Path) -> None:
    (save_random_classifier(tmp_path, "a") / "model.safetensors").write_bytes(b"")
    with pytest.raises(RepositoryError, match=r"no model .* can be loaded"):
        started(tmp_path)
