"""The training loop: reproducible, stops early, keeps the best, goes on, fails clearly."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.data.sources import Dataset, Split
from mcdrop.errors import InputError, TrainingError
from mcdrop.recipe import Recipe
from mcdrop.training import Epoch, _tensor_cores, choose_device, fit

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


def blobs(rows: int = 400) -> Dataset:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, rows)
    x = (rng.normal(size=(rows, 3)) + 3 * np.eye(3)[y]).astype(np.float32)
    return dataset(x, y, classes=("a", "b", "c"))


def line(rows: int = 600) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = (1000 + 50 * x[:, :1] + rng.normal(size=(rows, 1))).astype(np.float64)
    return dataset(x, y, targets=("y",))


def dataset(x: np.ndarray, y: np.ndarray, **names: tuple[str, ...]) -> Dataset:
    part = len(x) // 4
    parts = [Split(x[i * part :][:part], y[i * part :][:part]) for i in range(4)]
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


def test_without_patience_all_epochs_run_and_the_last_is_kept() -> None:
    fitted = fit(recipe(epochs=30, patience=0, lr=0.1), blobs(30))
    assert len(fitted.history) == fitted.best_epoch == 30


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "adam", "schedule": "one-cycle"},
        {"optimizer": "sgd", "momentum": 0.9, "patience": 2, "lr": 0.5},
    ],
)
@pytest.mark.parametrize("stop", [1, 3, 8])
def test_resuming_leads_to_the_same_weights_bit_for_bit(
    tmp_path: Path, training: dict[str, object], stop: int
) -> None:
    plan, data, path = recipe(**training), blobs(), tmp_path / "checkpoint"
    whole = fit(plan, data)

    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == stop:
            raise KeyboardInterrupt

    if stop <= len(whole.history):
        with pytest.raises(KeyboardInterrupt):
            fit(plan, data, checkpoint=path, on_epoch=interrupt)
    seen: list[Epoch] = []
    resumed = fit(plan, data, checkpoint=path, resume=True, on_epoch=seen.append)
    assert len(seen) == len(whole.history) - (stop if stop <= len(whole.history) else 0)
    assert resumed.best_epoch == whole.best_epoch
    for one, other in zip(resumed.history, whole.history, strict=True):
        assert (one.train_loss, one.validation_loss) == (other.train_loss, other.validation_loss)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name])


def test_a_checkpoint_of_another_recipe_is_refused_and_without_resume_overwritten(
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoint"
    fit(recipe(epochs=1), blobs(), checkpoint=path)
    with pytest.raises(TrainingError, match="its recipe differs"):
        fit(recipe(epochs=2), blobs(), checkpoint=path, resume=True)
    assert len(fit(recipe(epochs=2), blobs(), checkpoint=path).history) == 2


def test_penalties_clipping_and_max_norm_take_part() -> None:
    def trained(**regularization: object) -> torch.Tensor:
        plan = recipe(optimizer="sgd", patience=0)
        plan = Recipe.model_validate(
            {**plan.model_dump(), "regularization": {"weight_decay": 0, **regularization}}
        )
        return fit(plan, blobs()).network[0].weight

    assert trained(max_norm=0.5).norm(dim=1).max() <= 0.5 + 1e-6
    assert (trained(l1=0.5, proximal=True) == 0).any()
    assert not (trained(l1=0.5) == 0).any()
    assert trained(form="penalty", weight_decay=1.0).norm() < 0.8 * trained().norm()
    still = fit(recipe(optimizer="sgd", clip_norm=1e-9, patience=0), blobs())
    norms = [epoch.weight_norm for epoch in still.history]
    assert max(norms) - min(norms) < 1e-3  # the default decay's share


def test_the_watcher_sees_the_gradients_of_the_last_step() -> None:
    seen: list[float] = []

    def watch(_: Epoch, network: torch.nn.Module) -> None:
        seen.extend(float(p.grad.norm()) for p in network.parameters() if p.grad is not None)

    fit(recipe(epochs=2), blobs(), watch=watch)
    assert len(seen) == 8
    assert all(norm > 0 for norm in seen)


def heteroscedastic(rows: int = 3000) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (rows, 3)).astype(np.float32)
    spread = np.where(x[:, :1] > 0, 20.0, 2.0)
    y = 100 + 50 * x[:, :1] + spread * rng.normal(size=(rows, 1))
    return dataset(x, np.column_stack([y, -y / 10]), targets=("y", "z"))


def test_the_variance_of_each_row_and_target_is_learned_in_its_unit() -> None:
    data = heteroscedastic()
    plan = recipe("regression", epochs=60, patience=60).model_dump()
    plan["network"] |= {"variance": "learned", "hidden": (32,), "dropout": 0.0}
    network = fit(Recipe.model_validate(plan), data).network
    mean, log_variance = network(torch.from_numpy(data.test.x)).chunk(2, dim=1)
    std = torch.exp(log_variance / 2).numpy()
    loud = data.test.x[:, 0] > 0.2
    quiet = data.test.x[:, 0] < -0.2
    assert mean.shape == (len(data.test), 2)
    # Standard deviations of a step at 0, smoothed by the network: within a quarter of the truth.
    assert np.median(std[loud, 0]) == pytest.approx(20, rel=0.25)
    assert np.median(std[quiet, 0]) == pytest.approx(2, rel=0.25)
    assert np.median(std[loud, 1]) == pytest.approx(2, rel=0.25)
    assert np.median(std[quiet, 1]) == pytest.approx(0.2, rel=0.25)


def test_class_weights_move_the_decision() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(900) < 0.1).astype(np.int64)
    x = (rng.normal(size=(900, 3)) + y[:, None]).astype(np.float32)
    data = dataset(x, y, classes=("common", "rare"))
    plain, balanced = (
        fit(recipe(class_weights=weights), data).network(torch.from_numpy(data.test.x)).argmax(1)
        for weights in (None, "balanced")
    )
    rare = data.test.y == 1
    assert balanced[rare].double().mean() > plain[rare].double().mean() + 0.2


def test_bfloat16_passes_learn_as_well() -> None:
    half = fit(recipe(precision="bfloat16"), blobs())
    whole = fit(recipe(), blobs())
    assert half.network[0].weight.dtype == torch.float32
    assert not torch.equal(half.network[0].weight, whole.network[0].weight)
    assert abs(half.history[-1].validation_loss - whole.history[-1].validation_loss) < 0.05


def test_tensor_cores_are_used_for_training_only() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    with _tensor_cores(torch.device("cuda")):
        assert matmul.fp32_precision == "tf32"
    assert matmul.fp32_precision == before
    with _tensor_cores(torch.device("cpu")):
        assert matmul.fp32_precision == before
