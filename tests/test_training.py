"""The training loop: reproducible, stops early, keeps the best, fails clearly."""

import numpy as np
import pytest
import torch

from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.data.sources import Dataset, Split
from mcdrop.errors import InputError, TrainingError
from mcdrop.recipe import Recipe
from mcdrop.training import Epoch, choose_device, fit

PLAIN = ArrayPreprocessing(shape=(3,), scale=1, mean=0, std=1, minimum=-9, maximum=9)


def recipe(task: str = "classification", **training: object) -> Recipe:
    source = {"source": "digits"} if task == "classification" else {"source": "table", "train": "-"}
    return Recipe.model_validate(
        {
            "task": task,
            "data": source,
            "network": {"hidden": [16], "dropout": 0.1},
            "training": {"batch_size": 32, "epochs": 8, "lr": 0.01, **training},
        }
    )


def blobs(rows: int = 300) -> Dataset:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, rows)
    x = (rng.normal(size=(rows, 3)) + 3 * np.eye(3)[y]).astype(np.float32)
    return dataset(x, y, classes=("a", "b", "c"))


def line(rows: int = 400) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = (1000 + 50 * x[:, :1] + rng.normal(size=(rows, 1))).astype(np.float64)
    return dataset(x, y, targets=("y",))


def dataset(x: np.ndarray, y: np.ndarray, **names: tuple[str, ...]) -> Dataset:
    third = len(x) // 3
    parts = [Split(x[i * third :][:third], y[i * third :][:third]) for i in range(3)]
    names = {"classes": (), "targets": (), **names}
    return Dataset(*parts, preprocessing=PLAIN, fingerprint="", source="made", **names)


def test_learns_and_reports_each_epoch() -> None:
    seen: list[Epoch] = []
    steps: list[tuple[int, int]] = []
    fitted = fit(recipe(), blobs(), on_epoch=seen.append, on_step=lambda *s: steps.append(s))
    assert tuple(seen) == fitted.history
    assert steps[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert seen[-1].validation_accuracy is not None
    assert seen[-1].validation_accuracy > 0.85
    assert seen[-1].train_loss < seen[0].train_loss
    assert len(fitted.history_csv.splitlines()) == 1 + len(seen)
    assert not fitted.network.training


def test_same_seed_same_weights_and_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first, again = (fit(recipe(), blobs()).network[0].weight for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = fit(recipe().model_copy(update={"seed": 1}), blobs()).network[0].weight
    assert not torch.equal(first, other)


def test_stops_early_and_keeps_the_best_epoch() -> None:
    data = blobs(90)
    fitted = fit(recipe(epochs=200, patience=3, lr=0.05), data)
    losses = [epoch.validation_loss for epoch in fitted.history]
    assert len(losses) == fitted.best_epoch + 3 < 200
    assert losses[fitted.best_epoch - 1] == min(losses)
    logits = fitted.network(torch.from_numpy(data.validation.x))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.validation.y))
    assert loss.item() == pytest.approx(min(losses), rel=1e-6)


def test_regression_answers_in_the_unit_of_the_target() -> None:
    data = line()
    network = fit(recipe("regression", epochs=150, patience=150), data).network
    answer = network(torch.from_numpy(data.test.x)).numpy()
    assert np.sqrt(np.mean((answer - data.test.y) ** 2)) < 8  # the target's spread is 50


def test_a_loss_that_is_not_finite_stops_with_the_epoch_and_a_remedy() -> None:
    data = line()
    with pytest.raises(TrainingError, match=r"epoch \d+ .* lower the learning rate, now 1e\+20"):
        fit(recipe("regression", optimizer="sgd", lr=1e20), data)


def test_interruption_passes_through() -> None:
    def stop(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe(), blobs(), on_epoch=stop)


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device().type in {"cpu", "cuda", "mps"}
    with pytest.raises(InputError, match="cannot be used"):
        choose_device("warp-drive")


def test_cosine_schedule_ends_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def watch(self: torch.optim.Adam, closure: None = None) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self, closure)

    monkeypatch.setattr(torch.optim.Adam, "step", watch)
    fit(recipe(epochs=5, schedule="cosine", patience=5), blobs())
    expected = 0.01 * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    np.testing.assert_allclose(rates, expected, atol=1e-12)
