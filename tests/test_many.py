"""Many networks at once: the single training's mathematics, whoever the neighbors are."""

import numpy as np
import pytest
import torch

from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.data.sources import Dataset, Split
from mcdrop.errors import InputError
from mcdrop.many import Many, fit_many
from mcdrop.many.bits import Bits
from mcdrop.recipe import Recipe
from mcdrop.training import fit

PLAIN = ArrayPreprocessing(shape=(5,), scale=1, mean=0, std=1, minimum=-9, maximum=9)
CPU = torch.device("cpu")


def recipe(task: str = "regression", seed: int = 0, **parts: dict[str, object]) -> Recipe:
    source = {"source": "digits"} if task == "classification" else {"source": "table", "train": "-"}
    return Recipe.model_validate(
        {
            "task": task,
            "seed": seed,
            "data": source,
            "network": {"hidden": [16, 8], "dropout": 0.0, **parts.get("network", {})},
            "regularization": parts.get("regularization", {}),
            "training": {"batch_size": 32, "epochs": 6, "lr": 0.01, **parts.get("training", {})},
        }
    )


def dataset(task: str = "regression", seed: int = 0, rows: int = 210) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5)).astype(np.float32)
    names = {"classes": (), "targets": ("y",)}
    y = 30 * np.sin(x[:, :1] + x[:, 1:2]).astype(np.float64) + 100
    if task == "classification":
        names = {"classes": ("a", "b", "c"), "targets": ()}
        y = (x[:, :3] + 0.5 * rng.normal(size=(rows, 3))).argmax(1)
    third = rows // 3
    parts = {
        part: Split(x[i * third :][:third], y[i * third :][:third])
        for i, part in enumerate(("train", "validation", "test"))
    }
    return Dataset(
        **parts, calibration=parts["test"], preprocessing=PLAIN, fingerprint="", source="", **names
    )


def weights(fitted) -> list[torch.Tensor]:
    return list(fitted.network.state_dict().values())


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("form", ["coupled", "decoupled"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_without_dropout_each_network_follows_the_single_training(
    task: str, form: str, schedule: str
) -> None:
    decay = {"form": form, "weight_decay": 0.05}
    recipes = [
        recipe(task, seed, regularization=decay, training={"schedule": schedule, "lr": lr})
        for seed, lr in ((0, 0.01), (7, 0.003))
    ]
    data = dataset(task)
    for alone, together in zip(
        [fit(r, data, device="cpu") for r in recipes], fit_many(recipes, data), strict=True
    ):
        assert together.best_epoch == alone.best_epoch
        for ours, theirs in zip(together.history, alone.history, strict=True):
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
            assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-5)
            assert ours.weight_norm == pytest.approx(theirs.weight_norm, rel=1e-5)
        for ours, theirs in zip(weights(together), weights(alone), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max())


def test_neighbors_change_nothing() -> None:
    own = recipe(seed=3, network={"dropout": [0.0, 0.3]}, regularization={"weight_decay": 0.01})
    quiet = recipe(seed=1)
    loud = recipe(seed=2, network={"dropout": 0.5, "input_dropout": 0.4}, training={"lr": 0.1})
    data = dataset()
    with_quiet, with_loud = (fit_many([own, other], data)[0] for other in (quiet, loud))
    for ours, theirs in zip(weights(with_quiet), weights(with_loud), strict=True):
        assert torch.equal(ours, theirs)
    crowd = fit_many([*[loud] * 9, own], data)[-1]
    for ours, theirs in zip(weights(with_quiet), weights(crowd), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max())


def test_own_rows_are_shared_rows_when_they_are_the_same() -> None:
    recipes = [recipe(seed=s, network={"dropout": 0.2}) for s in range(3)]
    shared, own = fit_many(recipes, dataset()), fit_many(recipes, [dataset()] * 3)
    for one, other in zip(shared, own, strict=True):
        for ours, theirs in zip(weights(one), weights(other), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_own_rows_are_trained_on() -> None:
    rows = [dataset(seed=1), dataset(seed=2)]
    recipes = [recipe(seed=5), recipe(seed=5)]
    for n, fitted in enumerate(fit_many(recipes, rows)):
        for ours, theirs in zip(
            weights(fitted), weights(fit(recipes[n], rows[n], device="cpu")), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max())


def test_dropout_follows_the_expected_gradient() -> None:
    """A linear model with dropout on its input minimizes a ridge loss in closed form.

    E|y - w (x m) / q|^2 = |y - w x|^2 + p/q |w x|^2 per feature (Srivastava 2014, section 9.1).
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    y = x @ np.arange(1.0, 6.0)[:, None] + rng.normal(size=(400, 1))
    rate = 0.3
    network = {"hidden": [], "dropout": [], "input_dropout": rate}
    training = {"batch_size": 100, "epochs": 400, "lr": 0.02, "schedule": "cosine"}
    recipes = [
        recipe(seed=s, network=network, training=training, regularization={"weight_decay": 0.0})
        for s in range(20)
    ]
    many = Many(recipes, x, y)
    for _ in range(400):
        many.epoch()
    found = torch.stack([n[-1].weight[0] for n in many.networks()]).numpy()
    gram = x.T @ x
    centered = y - y.mean()
    wanted = np.linalg.solve(
        gram - len(x) * np.outer(x.mean(0), x.mean(0)) + rate / (1 - rate) * np.diag(np.diag(gram)),
        x.T @ centered,
    )[:, 0]
    # Twenty networks, whose spread is that of Adam's last steps; 4.5 standard errors and 1 %.
    error = found.std(0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(0) - wanted) < 4.5 * error + 0.01 * np.abs(wanted))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_masks_drop_at_their_rates_and_keep_the_expectation(rate: float) -> None:
    bits = Bits([0, 1, 2], 0, [rate, 0.0, rate], 64, CPU)
    masks = torch.stack([bits.draw(64, 50) for _ in range(200)])  # (200, 3, 64, 50)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert masks[:, 1].all()
    assert bits.scale[1] == 1
    count = masks[:, 0].numel()
    for n in (0, 2):
        kept = masks[:, n].double().mean().item()
        # 5 standard errors: a false alarm in 1.7 million.
        assert abs(kept - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / count) + 1 / 65536
        assert (1 - rate) * bits.scale[n].item() == pytest.approx(1, abs=1e-3)
    assert not torch.equal(masks[:, 0], masks[:, 2])
    assert not torch.equal(masks[0], masks[1])


def test_a_stream_of_masks_does_not_depend_on_company_or_on_a_short_last_batch() -> None:
    alone, crowd = Bits([5], 1, [0.3], 128, CPU), Bits([9, 5] * 100, 1, [0.3] * 200, 128, CPU)
    for rows in (128, 128, 17, 128, 128):
        assert torch.equal(alone.draw(rows, 50)[0], crowd.draw(rows, 50)[1])


def test_stops_each_network_by_its_own_patience_and_keeps_its_best() -> None:
    training = {"epochs": 60, "lr": 0.03}
    recipes = [recipe(seed=s, training={**training, "patience": p}) for s, p in ((0, 1), (1, 20))]
    data = dataset("regression", rows=60)
    for one, fitted in zip(recipes, fit_many(recipes, data), strict=True):
        losses = [epoch.validation_loss for epoch in fitted.history]
        assert fitted.best_epoch == int(np.argmin(losses)) + 1
        stopped = len(losses) - fitted.best_epoch
        assert stopped == one.training.patience or len(losses) == 60
        with torch.no_grad():
            outputs = fitted.network(torch.from_numpy(data.validation.x)).double().numpy()
        loss = np.mean(((outputs - data.validation.y) / data.train.y.std()) ** 2)
        assert loss == pytest.approx(min(losses), rel=1e-4)


def test_without_patience_the_last_epoch_is_kept() -> None:
    recipes = [recipe(seed=s, training={"patience": 0, "lr": 0.1}) for s in range(4)]
    data = dataset(rows=60)
    for one, fitted in zip(recipes, fit_many(recipes, data), strict=True):
        alone = fit(one, data, device="cpu")
        assert fitted.best_epoch == alone.best_epoch == 6
        assert len(fitted.history) == 6
        for ours, theirs in zip(weights(fitted), weights(alone), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max())


def test_a_network_that_diverges_leaves_the_others_alone() -> None:
    wild = recipe(training={"lr": 1e30})
    good, bad = fit_many([recipe(), wild], dataset())
    assert good.best_epoch > 0
    assert np.isfinite(good.history[-1].validation_loss)
    assert len(bad.history) < 6
    assert bad.best_epoch == 0


def test_torch_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    fit_many([recipe(network={"dropout": 0.2})] * 2, dataset())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_refuses_what_does_not_go_together() -> None:
    data = dataset()
    with pytest.raises(InputError, match="no recipe"):
        fit_many([], data)
    with pytest.raises(InputError, match="agree in activation, hidden"):
        fit_many([recipe(), recipe(network={"hidden": [4, 4]})], data)
    with pytest.raises(InputError, match="optimizer"):
        fit_many([recipe(training={"optimizer": "sgd"})], data)
    with pytest.raises(InputError, match="as many rows"):
        fit_many([recipe()] * 2, [data, dataset(rows=90)])
    with pytest.raises(InputError, match="for 2 networks"):
        Many([recipe()] * 2, np.zeros((3, 4, 5)), np.zeros((3, 4, 1)))
    with pytest.raises(InputError, match="classes"):
        Many([recipe()], np.zeros((4, 5)), np.zeros((3, 1)))
