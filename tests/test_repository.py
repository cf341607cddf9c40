"""The repository: atomic versions, checked weights, honest errors."""

import json
import os
import threading
from pathlib import Path

import pytest

from mcdrop import repository
from mcdrop.card import Examples
from mcdrop.errors import RepositoryError
from tests.models import save_random_classifier


def test_versions_count_up_and_the_latest_is_the_default(tmp_path: Path) -> None:
    first = save_random_classifier(tmp_path)
    second = save_random_classifier(tmp_path, seed=1)
    assert [first.name, second.name] == ["1", "2"]
    assert repository.resolve(tmp_path, "tiny") == second
    assert repository.resolve(tmp_path, "tiny", 1) == first
    assert repository.resolve(tmp_path) == second
    assert repository.list_models(tmp_path) == [repository.ModelEntry("tiny", (1, 2))]
    assert repository.read_card(second).version == 2
    files = ["card.json", "model.safetensors", "reference.safetensors"]
    assert sorted(p.name for p in second.iterdir()) == files


def test_version_ten_comes_after_nine(tmp_path: Path) -> None:
    save_random_classifier(tmp_path).rename(tmp_path / "tiny" / "9")
    assert save_random_classifier(tmp_path).name == "10"
    assert repository.resolve(tmp_path, "tiny").name == "10"


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=save_random_classifier, args=(tmp_path, "tiny", seed))
        for seed in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert repository.list_models(tmp_path)[0].versions == (1, 2, 3, 4, 5, 6)
    assert not list((tmp_path / "tiny").glob(".tmp-*"))


@pytest.mark.parametrize("stage", ["write_bytes", "rename", "chmod"])
def test_a_failure_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, stage, stop)
    with pytest.raises(KeyboardInterrupt):
        save_random_classifier(tmp_path)
    monkeypatch.undo()
    assert list((tmp_path / "tiny").iterdir()) == []


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    folder = save_random_classifier(tmp_path)
    card = repository.read_card(folder)
    repository.load_network(folder, card)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RepositoryError, match="altered or cut short"):
        repository.load_network(folder, card)


def test_altered_calibration_rows_are_refused(tmp_path: Path) -> None:
    folder = save_random_classifier(tmp_path)
    card = repository.read_card(folder)
    assert len(repository.load_reference(folder, card).scores) == 50
    (folder / "reference.safetensors").write_bytes(b"")
    with pytest.raises(RepositoryError, match="altered or cut short"):
        repository.load_reference(folder, card)


def test_examples_come_back_and_altered_ones_do_not(tmp_path: Path) -> None:
    examples = Examples(rows=[[0.0, 16.0], [0.5, 3.0]], labels=["a", "b"])
    folder = save_random_classifier(tmp_path, examples=examples)
    card = repository.read_card(folder)
    assert repository.load_examples(folder, card) == examples
    path = folder / "examples.json"
    path.write_text(path.read_text().replace("16", "15"))
    with pytest.raises(RepositoryError, match=r"SHA-256 .* altered or cut short"):
        repository.load_examples(folder, card)


def test_a_version_without_examples_has_none(tmp_path: Path) -> None:
    folder = save_random_classifier(tmp_path)
    fields = json.loads((folder / "card.json").read_text())
    del fields["examples_sha256"]  # as older versions were written
    (folder / "card.json").write_text(json.dumps(fields))
    found = repository.load_examples(folder, repository.read_card(folder))
    assert found == Examples(rows=(), labels=())


def test_examples_need_a_label_each() -> None:
    with pytest.raises(ValueError, match="got 1 labels of 0 rows"):
        Examples(labels=("a",))


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = save_random_classifier(tmp_path)
    card = repository.read_card(folder)
    wider = card.model_copy(update={"in_features": 65})
    with pytest.raises(RepositoryError, match="does not fit its card"):
        repository.load_network(folder, wider)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 2}', "not a card this version of mcdrop can read"),
    ],
)
def test_broken_cards_are_refused(tmp_path: Path, text: str, said: str) -> None:
    folder = save_random_classifier(tmp_path)
    (folder / "card.json").write_text(text)
    with pytest.raises(RepositoryError, match=said):
        repository.read_card(folder)


def test_card_is_readable_json_without_its_own_place(tmp_path: Path) -> None:
    folder = save_random_classifier(tmp_path)
    fields = json.loads((folder / "card.json").read_text())
    assert fields["classes"] == list("0123456789")
    assert "name" not in fields
    assert "version" not in fields
    moved = tmp_path / "other" / "7"
    moved.parent.mkdir()
    folder.rename(moved)
    assert (repository.read_card(moved).name, repository.read_card(moved).version) == ("other", 7)


@pytest.mark.parametrize("name", ["../tiny", "/etc", "", ".hidden", "a/b", "x" * 65, "a\0b"])
def test_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    save_random_classifier(tmp_path)
    with pytest.raises(RepositoryError):
        repository.resolve(tmp_path / "tiny", name)
    with pytest.raises(RepositoryError, match="not usable"):
        save_random_classifier(tmp_path, name)


def test_unknown_models_are_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="trained are none"):
        repository.resolve(tmp_path / "absent")
    save_random_classifier(tmp_path)
    save_random_classifier(tmp_path, "second")
    with pytest.raises(RepositoryError, match="trained are second, tiny"):
        repository.resolve(tmp_path, "third")
    with pytest.raises(RepositoryError, match=r"name the model: .* second, tiny"):
        repository.resolve(tmp_path)
    with pytest.raises(RepositoryError, match="no version 3: it has 1"):
        repository.resolve(tmp_path, "tiny", 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_repository_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RepositoryError, match="cannot write a version"):
        save_random_classifier(tmp_path)


def test_a_file_in_the_way_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "tiny").write_text("not a folder")
    with pytest.raises(RepositoryError, match="cannot write a version"):
        save_random_classifier(tmp_path)


def test_a_place_is_prepared_before_the_work(tmp_path: Path) -> None:
    assert repository.prepare(tmp_path / "new", "tiny") == tmp_path / "new" / "tiny"
    assert repository.list_models(tmp_path / "new") == []
    with pytest.raises(RepositoryError, match="not usable"):
        repository.prepare(tmp_path, "my model")
