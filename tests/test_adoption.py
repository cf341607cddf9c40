"""Networks trained elsewhere become versions that answer as the networks do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mcdrop
from mcdrop import repository
from mcdrop.adopted import Adopted, Layer
from mcdrop.errors import InputError, NetworkError, RepositoryError
from mcdrop.layers import build_layers, describe
from mcdrop.recipe import CalibrationRecipe
from mcdrop.repository import load_examples, read_card

RNG = np.random.default_rng(0)
ROWS, COLUMNS = 300, 5
X = RNG.normal(3, 2, (ROWS, COLUMNS))
LABELS = RNG.integers(0, 3, ROWS)
VALUES = RNG.normal(100, 10, (ROWS, 2))
PICTURES = RNG.integers(0, 256, (ROWS, 1, 8, 8)).astype(np.uint8)


@pytest.fixture(autouse=True)
def weights() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def mlp(outputs: int, *last: nn.Module) -> nn.Sequential:
    body = nn.Sequential(nn.Linear(COLUMNS, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))
    network = nn.Sequential(body, nn.Linear(16, outputs), *last)
    network(torch.as_tensor(X, dtype=torch.float32))  # statistics of the normalization
    return network


def plain(network: nn.Module, x: np.ndarray) -> np.ndarray:
    """The network's own outputs in eval mode, on rows as it takes them."""
    with torch.no_grad():
        found: Tensor = network.eval()(torch.as_tensor(x, dtype=torch.float32))
    return found.numpy().astype(np.float64)


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_a_version_answers_as_the_network_does(tmp_path: Path) -> None:
    network, mean, std = mlp(3), X.mean(0), X.std(0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folder = mcdrop.adopt(
        network, X, LABELS, "own", tmp_path, mean=mean, std=std, samples=50, description="mine"
    )
    assert folder == tmp_path / "own" / "1"
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    model = mcdrop.load(folder)
    answer = model.predict(X)
    want = softmax(plain(network, (X - mean) / std))
    np.testing.assert_allclose(answer.deterministic.probabilities, want, atol=1e-5)
    spread = model.card.calibration.spread
    odds = spread * 0.3 / 0.7
    network[0][3].p = odds / (1 + odds)
    posterior = mcdrop.Posterior(network, 50, temperature=model.card.calibration.temperature)
    x = torch.as_tensor((X - mean) / std, dtype=torch.float32)
    np.testing.assert_allclose(answer.probabilities, posterior.predict(x).mean, atol=1e-5)
    assert model.card.classes == ("0", "1", "2")
    assert model.card.rows == {"train": 0, "validation": 100, "calibration": 100, "test": 100}
    assert isinstance(model.card.recipe, Adopted)
    told = (folder / "CARD.md").read_text()
    assert "trained elsewhere" in told
    assert "| train |" not in told
    assert set(model.card.metrics["served"]) == {"accuracy", "nll", "brier", "ece"}
    by_name = [{f"x{i}": value for i, value in enumerate(row)} for row in X[:3]]
    np.testing.assert_allclose(model.predict(by_name).mean, answer.mean[:3], atol=1e-6)


def test_promises_hold_for_a_network_that_has_learned(tmp_path: Path) -> None:
    """Coverage .9 over 4,000 new rows from 1,000 calibration rows: std .01, five of them."""
    rng = np.random.default_rng(1)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 1))
        return x, 3 * x[:, 0] + rng.normal(0, 0.5 + np.abs(x[:, 0]))

    network = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
    x, y = (torch.as_tensor(part, dtype=torch.float32) for part in draw(500))
    steps = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(100):
        steps.zero_grad()
        F.mse_loss(network(x)[:, 0], y).backward()
        steps.step()
    mcdrop.adopt(network, *draw(3000), "line", tmp_path)
    answer_rows, truth = draw(4000)
    answer = mcdrop.load(tmp_path / "line").predict(answer_rows)
    held = (answer.lower[:, 0] <= truth) & (truth <= answer.upper[:, 0])
    assert abs(held.mean() - 0.9) < 0.05


def test_pictures_keep_their_unit_and_axes(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", bias=False), nn.PReLU(4), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.4), nn.Linear(64, 3),
    )  # fmt: skip
    folder = mcdrop.adopt(network, PICTURES, LABELS, "gray", tmp_path, scale=1 / 255, mean=0.5)
    model = mcdrop.load(folder)
    want = softmax(plain(network, PICTURES / 255 - 0.5))
    for rows in (PICTURES, PICTURES[:, 0], PICTURES.reshape(ROWS, -1)):
        got = model.predict(rows).deterministic.probabilities
        np.testing.assert_allclose(got, want, atol=1e-5)
    assert model.card.preprocessing.shape == (8, 8)  # type: ignore[union-attr]
    assert (model.card.preprocessing.minimum, model.card.preprocessing.maximum) == (0, 255)  # type: ignore[union-attr]


@pytest.mark.parametrize("axis", [1, -1], ids=["channels first", "channels last"])
def test_each_channel_has_a_mean_and_a_std(axis: int, tmp_path: Path) -> None:
    colors = np.random.default_rng(1).integers(0, 256, (ROWS, 3, 4, 5), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = np.moveaxis((colors / 255 - mean[:, None, None]) / std[:, None, None], 1, axis)
    raw = np.moveaxis(colors, 1, axis)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.4), nn.Linear(60, 3))
    folder = mcdrop.adopt(
        network, raw, LABELS, "flags", tmp_path, scale=1 / 255, mean=mean, std=torch.tensor(std)
    )
    model, want = mcdrop.load(folder), softmax(plain(network, x))
    for rows in (raw, raw.reshape(ROWS, -1)):
        got = model.predict(rows).deterministic.probabilities
        np.testing.assert_allclose(got, want, atol=1e-5)
    with pytest.raises(InputError, match=r"2 means .* a channel"):
        mcdrop.adopt(network, raw, LABELS, "flags", tmp_path, mean=mean[:2], std=std)


def test_as_many_pictures_are_kept_as_samples_as_one_says(tmp_path: Path) -> None:
    colors = np.random.default_rng(1).integers(0, 256, (ROWS, 3, 4, 4), np.uint8)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.4), nn.Linear(48, 3))
    for count in (0, 5):
        folder = mcdrop.adopt(
            network, colors, LABELS, "flags", tmp_path, scale=1 / 255, examples=count
        )
        found = load_examples(folder, read_card(folder))
        assert len(found.rows) == len(found.labels) == count
        flat = colors.reshape(ROWS, 48).tolist()
        for row, label in zip(found.rows, found.labels, strict=True):
            assert int(label) == LABELS[flat.index(list(row))]
    with pytest.raises(InputError, match=r"got 5 examples .* no pictures"):
        mcdrop.adopt(mlp(3), X, LABELS, "table", tmp_path, examples=5)


@pytest.mark.parametrize("last", [(), (nn.Sigmoid(),)], ids=["logit", "sigmoid"])
@pytest.mark.parametrize("kind", [np.float64, np.int64, bool])
def test_one_logit_becomes_two_classes(
    last: tuple[nn.Module, ...], kind: type, tmp_path: Path
) -> None:
    network, truth = mlp(1, *last), (LABELS > 0).astype(kind)
    mcdrop.adopt(network, X, truth, "binary", tmp_path, classes=["no", "yes"])
    answer = mcdrop.load(tmp_path / "binary").predict(X)
    z = plain(network, X)[:, 0]
    want = z if last else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(answer.deterministic.probabilities[:, 1], want, atol=1e-5)


def test_a_softmax_at_the_end_is_taken_for_what_it_is(tmp_path: Path) -> None:
    network = mlp(3, nn.Softmax(dim=1))
    names = np.array(["c", "a", "b"])
    mcdrop.adopt(network, X, names[LABELS], "soft", tmp_path, classes=names)
    answer = mcdrop.load(tmp_path / "soft").predict(X)
    np.testing.assert_allclose(answer.deterministic.probabilities, plain(network, X), atol=1e-5)


def test_several_outputs_and_learned_variances(tmp_path: Path) -> None:
    network = mlp(4)
    adopt = {"targets": ["width", "height"], "variance": "learned"}
    mcdrop.adopt(network, X, VALUES, "sizes", tmp_path, **adopt)  # type: ignore[arg-type]
    model = mcdrop.load(tmp_path / "sizes")
    answer = model.predict(X)
    assert model.card.targets == ("width", "height")
    np.testing.assert_allclose(answer.deterministic.mean, plain(network, X)[:, :2], rtol=1e-4)
    assert answer.aleatoric.std(axis=0).min() > 0


def test_a_parametrized_weight_is_taken_as_it_is_used(tmp_path: Path) -> None:
    network = mlp(3)
    nn.utils.parametrizations.weight_norm(network[1])
    mcdrop.adopt(network, X, LABELS, "normed", tmp_path)
    answer = mcdrop.load(tmp_path / "normed").predict(X)
    want = softmax(plain(network, X))
    np.testing.assert_allclose(answer.deterministic.probabilities, want, atol=1e-5)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(COLUMNS, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.dropout(F.relu(self.first(x)), 0.2, self.training)).squeeze(-1)


def test_a_data_frame_names_its_columns(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde")).sample(frac=1, random_state=0)
    network = Own()
    mcdrop.adopt(network, frame, VALUES[:, 0], "framed", tmp_path)
    model = mcdrop.load(tmp_path / "framed")
    assert model.card.preprocessing.columns == tuple("abcde")
    got = model.predict(frame).deterministic.mean[:, 0]  # its index is no column
    np.testing.assert_allclose(got, plain(network, frame.to_numpy(copy=True)), rtol=1e-4, atol=1e-4)


def frame_of_people(extra: bool = True) -> Any:
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(1)
    frame = {
        "job": rng.choice(["smith", "clerk", "nurse"], ROWS),
        "age": rng.normal(40, 12, ROWS),
        "floor": rng.integers(1, 3, ROWS),
        "size": rng.normal(1.7, 0.1, ROWS),
    }
    return pandas.DataFrame(frame | ({"id": [f"p{i}" for i in range(ROWS)]} if extra else {}))


def test_a_data_frame_with_labels_is_encoded_as_it_was_for_the_network(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame, network = frame_of_people(), mlp(3)
    network[0][0] = nn.Linear(7, 16)
    numeric = frame[["age", "size"]]
    mean, std = numeric.mean().to_numpy(), numeric.std().to_numpy()
    categories = {"job": ["clerk", "nurse", "smith"], "floor": [1, 2]}
    folder = mcdrop.adopt(
        network, frame, LABELS, "people", tmp_path,
        columns=["age", "size", "job", "floor"], categories=categories, mean=mean, std=std,
    )  # fmt: skip
    model = mcdrop.load(folder)
    assert model.card.preprocessing.columns == ("age", "size", "job", "floor")
    dummies = pandas.get_dummies(frame[["job", "floor"]], columns=["job", "floor"], dtype=float)
    x = np.hstack([(numeric - mean) / std, dummies])
    answer = model.predict(frame)
    want = softmax(plain(network, x))
    np.testing.assert_allclose(answer.deterministic.probabilities, want, atol=1e-5)
    assert not answer.unknown.any()
    strange = model.predict([{"age": 40, "size": 1.7, "job": "pilot", "floor": 2}])
    assert strange.unknown.tolist() == [[False, False, True, False]]


def test_a_frame_may_be_of_labels_alone(tmp_path: Path) -> None:
    frame, network = frame_of_people()[["job", "floor"]], mlp(3)
    network[0][0] = nn.Linear(5, 16)
    categories = {"job": ["clerk", "nurse", "smith"], "floor": [1, 2]}
    folder = mcdrop.adopt(network, frame, LABELS, "jobs", tmp_path, categories=categories)
    assert len(mcdrop.load(folder).predict(frame)) == ROWS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": X}, "got ndarray with categories, wanted a data frame"),
        ({"categories": {"jobs": ["smith"]}}, "lacks columns: 'jobs'.*'job' is close to 'jobs'"),
        ({"columns": ["age", "seize"]}, "lacks columns: 'seize'"),
        ({"categories": {"job": ["smith", "smith"]}}, "a label of its own for each slot"),
        ({"categories": {"floor": [1, "1"]}, "columns": ["age"]}, "a label of its own"),
        ({"categories": {"job": []}}, "a label of its own for each slot"),
        ({"categories": {"floor": [1, 2]}}, "column 'job' holds .*, wanted numbers"),
        ({"mean": [1, 2, 3, 4]}, "4 means and 1 stds"),
        ({"std": 0}, "std > 0"),
    ],
)
def test_labels_that_do_not_fit_are_said(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    categories = {"job": ["clerk", "nurse", "smith"]}
    given = {"rows": frame_of_people(extra=False), "categories": categories, **change}
    with pytest.raises(InputError, match=message):
        mcdrop.adopt(mlp(3), truth=LABELS, name="own", repository=tmp_path, **given)


def test_the_promises_are_those_asked_for(tmp_path: Path) -> None:
    asked = CalibrationRecipe(level=0.5, sets="aps", risk=0.3)
    folder = mcdrop.adopt(mlp(3), X, LABELS, "asked", tmp_path, calibration=asked)
    assert mcdrop.load(folder).predict(X[:2]).level == 0.5
    assert repository.read_card(folder).recipe.calibration == asked


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rows": X[:20], "truth": LABELS[:20]}, InputError, "got 20 rows and 20 truths"),
        ({"rows": X[:100]}, InputError, "got 100 rows and 300 truths"),
        ({"rows": X.ravel()}, InputError, "got rows of shape"),
        ({"rows": np.full((300, 5), "a")}, InputError, "<U1, wanted numbers"),
        ({"rows": X[:, :4]}, InputError, "4 features, wanted 5"),
        ({"rows": np.where(X > 8, np.nan, X)}, InputError, r"row \d+ holds NaN"),
        ({"mean": [0, 0]}, InputError, "2 means and 1 stds for rows"),
        ({"std": 0}, InputError, "std > 0"),
        ({"columns": ["a"]}, InputError, "got 1 names"),
        ({"classes": ["a", "b"]}, InputError, "got 2 classes, the network has 3 outputs"),
        ({"truth": LABELS + 1}, InputError, "has the class .*3.*: wanted an index below 3"),
        ({"truth": np.eye(3)[LABELS]}, InputError, r"nothing but 0 and 1.*argmax\(axis=1\)"),
        ({"truth": np.eye(3, dtype=bool)[LABELS]}, InputError, "nothing but 0 and 1"),
        ({"truth": np.array(["cat"] * 300)}, InputError, "row 0 has the class .*'cat'"),
        ({"truth": VALUES}, InputError, "wanted 3 finite numbers a row"),
        ({"truth": VALUES[:, 0]}, InputError, "for classes: a whole number each"),
        ({"truth": VALUES, "classes": "abc"}, InputError, "an index or a label of `classes`"),
        ({"targets": ["a"], "truth": X[:, :3]}, InputError, "got 1 targets"),
        ({"network": nn.Sequential(nn.Linear(5, 3))}, NetworkError, "all passes would be alike"),
        ({"network": nn.Sequential(nn.LSTM(5, 3), nn.Dropout(0.1))}, NetworkError, "is a LSTM"),
        ({"variance": "wide"}, InputError, "variance 'wide' is not one of"),
        ({"samples": 0}, InputError, "samples 0"),
        ({"name": "../up"}, RepositoryError, "not usable"),
    ],
)
def test_what_does_not_fit_is_said(
    change: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    given = {"network": mlp(3), "rows": X, "truth": LABELS, "name": "own", **change}
    with pytest.raises(error, match=message):
        mcdrop.adopt(repository=tmp_path, **given)
    assert not repository.list_models(tmp_path)


def test_a_card_builds_nothing_but_layers() -> None:
    for kind in ("Module", "Sequential", "LSTM", "__import__"):
        with pytest.raises(NetworkError, match="there is no layer"):
            build_layers((Layer(kind=kind),), {})
    with pytest.raises(NetworkError, match="do not fit"):
        build_layers((Layer(kind="Linear", options={"in_features": 2}),), {})
    with pytest.raises(NetworkError, match="do not fit"):
        build_layers((Layer(kind="Linear", options={"in_features": 2, "out_features": 1}),), {})


def test_every_known_layer_comes_back() -> None:
    """Each layer with arguments that are not its defaults, built, described and built again."""
    layers = (
        nn.Conv1d(2, 4, (3,), stride=2, padding=1, groups=2, bias=False), nn.GroupNorm(2, 4, 1e-3),
        nn.LeakyReLU(0.3), nn.AvgPool1d(2, stride=1, padding=1), nn.ReflectionPad2d(1),
        nn.Conv2d(1, 2, (3, 1), dilation=(2, 1), padding_mode="circular", padding=1),
        nn.BatchNorm2d(2, momentum=None, affine=False), nn.Hardtanh(-2.0, 3.0), nn.GELU("tanh"),
        nn.AdaptiveMaxPool2d((2, None)), nn.Flatten(1, -1), nn.Unflatten(1, (2, -1)),
        nn.LayerNorm((3,), 1e-3, bias=False), nn.RMSNorm(3), nn.Threshold(0.1, 2.0),
        nn.Softplus(2.0, 10.0), nn.ELU(0.5), nn.Softshrink(0.2), nn.ZeroPad2d((1, 0, 2, 0)),
        nn.MaxPool3d(2, ceil_mode=True), nn.ReLU6(), nn.LogSoftmax(dim=1), nn.Dropout(0.7),
    )  # fmt: skip
    for layer in layers:
        network = nn.Sequential(layer)
        told, state = describe(network)
        again = build_layers(told, state)
        assert str(again[0]) == str(layer)
        assert describe(again)[0] == told
        assert Layer.model_validate_json(told[0].model_dump_json()) == told[0]
        for (key, value), other in zip(
            network.state_dict().items(), again.state_dict().values(), strict=True
        ):
            assert torch.equal(value, other), key
