"""TensorBoard: what the event files hold, read back by TensorBoard's own reader."""

from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mcdrop.errors import InputError
from mcdrop.loop import Epoch
from mcdrop.network import DropoutMLP
from mcdrop.tensorboard import open_board


def epoch(number: int, accuracy: float | None = 0.5) -> Epoch:
    return Epoch(number, 1.5, 0.25, accuracy, 3.0, 0.1)


def test_scalars_and_histograms_of_each_layer(tmp_path: Path) -> None:
    network = DropoutMLP(3, [4], 2)
    network(torch.ones(1, 3)).sum().backward()
    with open_board(tmp_path) as board:
        for number in range(1, 101):
            board(epoch(number), network)
    (run,) = tmp_path.iterdir()
    events = EventAccumulator(str(run), {"scalars": 0, "histograms": 0}).Reload()
    assert [e.value for e in events.Scalars("validation_loss")] == [0.25] * 100
    assert set(events.Tags()["scalars"]) >= {"train_loss", "weight_norm", "validation_accuracy"}
    tags = {f"layer {layer}/{kind}" for layer in (0, 3) for kind in ("weight", "bias")}
    assert set(events.Tags()["histograms"]) == tags | {f"{tag} gradient" for tag in tags}
    steps = [e.step for e in events.Histograms("layer 0/weight")]
    assert steps[:29] == list(range(1, 30))
    assert 30 < len(steps) < 80


def test_a_regression_has_no_accuracy(tmp_path: Path) -> None:
    with open_board(tmp_path) as board:
        board(epoch(1, None), DropoutMLP(3, [], 1))
    (run,) = tmp_path.iterdir()
    assert "validation_accuracy" not in EventAccumulator(str(run)).Reload().Tags()["scalars"]


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(InputError, match=r"pip install 'mcdrop\[tensorboard\]'"),
        open_board(tmp_path),
    ):
        pass
