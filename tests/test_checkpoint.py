"""Checkpoints: whole or absent, read to the bit, and only by the training that wrote them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mcdrop.checkpoint import finished_epochs, read_checkpoint, write_checkpoint
from mcdrop.errors import TrainingError

FACTS = {"identity": {"recipe": {"seed": 1}, "data": "abc"}, "history": [{}, {}]}


def test_tensors_come_back_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "model" / ".checkpoint"
    tensors = {"a": torch.randn(3, 4, dtype=torch.float64), "b": torch.arange(5).byte()}
    write_checkpoint(path, tensors, FACTS)
    found, facts = read_checkpoint(path, FACTS["identity"])
    assert facts == FACTS
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert [p.name for p in path.parent.iterdir()] == [".checkpoint"]
    assert finished_epochs(path) == 2


def test_another_training_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", {"a": torch.zeros(1)}, FACTS)
    with pytest.raises(TrainingError, match="its data differs: train without --resume"):
        read_checkpoint(tmp_path / "c", {"recipe": {"seed": 1}, "data": "xyz"})


@pytest.mark.parametrize("content", [b"", b"junk", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 64])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_checkpoint(tmp_path / "c", {})
    assert finished_epochs(tmp_path / "c") == 0


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "c", {"a": torch.zeros(1)}, FACTS)


def test_trainings_that_share_a_path_never_tear_it(tmp_path: Path) -> None:
    def write(value: int) -> None:
        for _ in range(50):
            write_checkpoint(tmp_path / "c", {"a": torch.full((1000,), value)}, FACTS)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(4)))
    tensors, _ = read_checkpoint(tmp_path / "c", {})
    assert len(tensors["a"].unique()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
