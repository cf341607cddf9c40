"""The posterior against the plain loop, closed forms, all masks, and its promises."""

import copy
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats as st
from torch import nn

from mcdrop.errors import InputError, NetworkError
from mcdrop.masks import balanced_masks
from mcdrop.posterior import Posterior
from mcdrop.uncertainty import summarize_classes, summarize_outputs
from tests.oracle import every_mask, masked_loop, mlp, plain_loop, rows, softmax


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


ROOT = Path(__file__).parent.parent
FALSE_ALARM = 1e-6  # of each test that can fail by chance; all seeds are fixed

CLASSIFIER = ((20, 48, 32, 5), (0.0, 0.3, 0.5))
INPUT_DROPOUT = ((13, 50, 1), (0.05, 0.05))
DEEP = ((1, 40, 40, 40, 1), (0.0, 0.1, 0.1, 0.1))


def largest_z(got, want, error):
    live = error > 1e-12
    return np.abs((got - want)[live] / error[live]).max()


def threshold(count):
    return st.norm.isf(FALSE_ALARM / 2 / count)


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_classes_agree_with_the_plain_loop(masks):
    network, x, samples = mlp(*CLASSIFIER), rows(12, 20), 6000
    got = Posterior(network, samples, seed=5, masks=masks).predict(x)
    want = summarize_classes(softmax(plain_loop(network, x, samples)), got.mean)
    # balanced passes scatter less than independent ones, so the plain error serves for both
    for name, error in (
        ("mean", want.mc_error),
        ("total", want.mc_error_total),
        ("epistemic", want.mc_error_epistemic),
    ):
        values, expected = getattr(got, name), getattr(want, name)
        assert largest_z(values, expected, error * np.sqrt(2)) < threshold(values.size), name
    loop = softmax(plain_loop(network, x, samples))
    fourth = ((loop - want.mean) ** 4).mean(axis=0)
    error = np.sqrt((fourth - want.std**4) / samples * 2)
    assert largest_z(got.std**2, want.std**2, error) < threshold(error.size)


@pytest.mark.parametrize("masks", ["shared", "independent"])
@pytest.mark.parametrize("shape", [INPUT_DROPOUT, DEEP])
def test_outputs_agree_with_the_plain_loop(masks, shape):
    network, x, samples = mlp(*shape), rows(10, shape[0][0]), 6000
    got = Posterior(network, samples, seed=3, masks=masks).predict(x)
    loop = plain_loop(network, x, samples)
    want = summarize_outputs(loop, got.mean)
    assert largest_z(got.mean, want.mean, want.mc_error * np.sqrt(2)) < threshold(10)
    fourth = ((loop - want.mean) ** 4).mean(axis=0)
    error = np.sqrt((fourth - want.epistemic**2) / samples * 2)
    assert largest_z(got.epistemic, want.epistemic, error) < threshold(10)


@pytest.mark.parametrize("shape", [CLASSIFIER, INPUT_DROPOUT, DEEP])
@pytest.mark.parametrize("samples", [1, 7, 100])
def test_each_pass_is_the_thinned_network_of_its_masks(shape, samples):
    network, x = mlp(*shape), rows(9, shape[0][0])
    posterior = Posterior(network, samples, seed=11, precision="float32")
    widths = [width for width, rate in zip(*shape, strict=False) if rate]
    rates = [rate for rate in shape[1] if rate]
    masks = [
        balanced_masks(11, layer, range(samples), width, rate)
        for layer, (width, rate) in enumerate(zip(widths, rates, strict=True))
    ]
    want = masked_loop(network, x, masks)
    classes = want.shape[2] > 1
    want = softmax(want) if classes else want
    np.testing.assert_allclose(posterior.sample(x), want, rtol=2e-5, atol=2e-6)
    got = posterior.predict(x)
    summary = (summarize_classes if classes else summarize_outputs)(want, got.mean)
    np.testing.assert_allclose(got.mean, summary.mean, rtol=1e-5, atol=1e-6)
    names = ("std", "epistemic", "total") if classes else ("epistemic",)
    for name in names:
        np.testing.assert_allclose(
            getattr(got, name), getattr(summary, name), rtol=1e-3, atol=2e-6, err_msg=name
        )


WAYS = [
    (CLASSIFIER, 40, 3),  # dense
    (CLASSIFIER, 40, 90),  # thinned
    (((20, 40, 30, 4), (0.5, 0.6, 0.1)), 40, 90),  # thinned, kept units instead of dropped ones
    (((20, 48, 32, 8, 5), (0.0, 0.3, 0.0, 0.5)), 40, 90),  # a layer without dropout
    (((30, 1), (0.4,)), 40, 90),  # a single layer
    (INPUT_DROPOUT, 100, 90),  # grouped
]


@pytest.mark.parametrize(("shape", "samples", "count"), WAYS)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh])
def test_every_way_of_evaluating_gives_the_same_passes(shape, samples, count, activation):
    network, x = mlp(*shape), rows(count, shape[0][0])
    network = nn.Sequential(*[activation() if isinstance(m, nn.ReLU) else m for m in network])
    masks = [
        balanced_masks(2**63 + 1, layer, range(samples), width, rate)
        for layer, (width, rate) in enumerate(
            (width, rate) for width, rate in zip(*shape, strict=False) if rate
        )
    ]
    want = masked_loop(network, x, masks)
    posterior = Posterior(network, samples, 2**63 + 1, task="regression", precision="float32")
    np.testing.assert_allclose(posterior.sample(x), want, rtol=1e-4, atol=1e-4)
    got = posterior.predict(x)
    np.testing.assert_allclose(got.mean, want.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.epistemic, want.var(axis=0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_bfloat16_errs_far_less_than_the_passes_do(masks):
    """Systematic error of the mean, in Monte Carlo standard errors at T = 100."""
    network, x = mlp((64, 128, 96, 10), (0.0, 0.3, 0.5)), rows(200, 64)
    pairs = [
        [
            Posterior(network, 100, seed=seed, precision=precision, masks=masks).predict(x).mean
            for precision in ("auto", "float32")
        ]
        for seed in range(12)
    ]
    difference = np.mean([coarse - fine for coarse, fine in pairs], axis=0)
    scatter = np.std([fine for _, fine in pairs], axis=0, ddof=1)
    assert np.sqrt((difference**2).mean() / (scatter**2).mean()) < 0.15


def test_memory_does_not_grow_with_rows_times_passes():
    """100,000 rows at T = 100: 80 MB of logits alone, were they ever held, and far more inside."""
    code = """
import resource, sys
import torch
torch.set_num_threads(1)
from mcdrop.posterior import Posterior
from tests.oracle import mlp, rows
posterior = Posterior(mlp((8, 64, 32, 10), (0.0, 0.3, 0.5)), 100)
posterior.predict(rows(4096, 8))
x = rows(100_000, 8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stats = posterior.predict(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    answers = 100_000 * (4 * 10 + 3) * 8 / 1024  # KiB of float64 that is asked for
    assert int(result.stdout) < 2 * answers + 64 * 1024


def test_linear_network_has_its_exact_moments():
    """y = w (m x) / (1 - p) + b: mean w x + b, variance sum (w x)^2 p / (1 - p)."""
    network, x, rate, samples = mlp((30, 1), (0.4,)), rows(20, 30), 0.4, 20_000
    got = Posterior(network, samples).predict(x)
    parts = (x * network[1].weight[0]).double().detach().numpy()
    mean = parts.sum(axis=1) + network[1].bias.item()
    variance = np.square(parts).sum(axis=1) * rate / (1 - rate)
    error = np.sqrt(variance / samples)  # balanced masks do better
    assert largest_z(got.mean[:, 0], mean, error) < threshold(20)
    assert largest_z(got.epistemic[:, 0], variance, variance * np.sqrt(2 / samples)) < threshold(20)
    assert largest_z(got.mean[:, 0], mean, got.mc_error[:, 0] * 1.2) < threshold(20)


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_tiny_network_matches_all_its_masks(masks):
    network, x, samples = mlp((3, 4, 3), (0.25, 0.5)), rows(6, 3), 30_000
    weights, outputs = every_mask(network, x)
    p = softmax(outputs)
    mean = np.einsum("m,mbc->bc", weights, p)
    variance = np.einsum("m,mbc->bc", weights, np.square(p - mean))
    kl = (p * np.log(p / mean)).sum(axis=2)
    information = weights @ kl
    got = Posterior(network, samples, masks=masks).predict(x)
    assert weights.sum() == pytest.approx(1.0)
    assert largest_z(got.mean, mean, np.sqrt(variance / samples)) < threshold(mean.size)
    error = np.sqrt((weights @ np.square(kl) - information**2) / samples)
    assert largest_z(got.epistemic, information, error) < threshold(6)
    fourth = np.einsum("m,mbc->bc", weights, (p - mean) ** 4)
    error = np.sqrt((fourth - variance**2) / samples)
    assert largest_z(got.std**2, variance, error) < threshold(mean.size)


def test_monte_carlo_errors_are_honest_over_seeds():
    """Claimed errors are not below the scatter between seeds, nor far above it."""
    network, x = mlp(*CLASSIFIER), rows(10, 20)
    answers = [Posterior(network, 320, seed=seed).predict(x) for seed in range(60)]
    scatter = np.std([a.mean for a in answers], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([a.mc_error**2 for a in answers], axis=0))
    ratio = np.sqrt((claimed**2).mean() / (scatter**2).mean())
    assert 0.9 < ratio < 1.5
    independent = np.sqrt(np.mean([a.std**2 for a in answers], axis=0) / 320)
    assert (independent**2).mean() > 1.3 * (scatter**2).mean()  # what balance is for
    scatter = np.std([a.epistemic for a in answers], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([a.mc_error_epistemic**2 for a in answers], axis=0))
    assert 0.8 < np.sqrt((claimed**2).mean() / (scatter**2).mean()) < 1.5


@pytest.mark.parametrize("precision", ["auto", "float32"])
@pytest.mark.parametrize("shape", [CLASSIFIER, INPUT_DROPOUT])
def test_a_row_gets_the_same_answer_in_any_company(shape, precision):
    """Products of bfloat16 too: the libraries sum in one order, whatever the number of rows."""
    network, x = mlp(*shape), rows(1500, shape[0][0])
    posterior = Posterior(network, 50, precision=precision)
    whole = posterior.predict(x)
    order = np.random.default_rng(0).permutation(1500)
    shuffled = posterior.predict(x[order])
    np.testing.assert_allclose(shuffled.mean, whole.mean[order], rtol=1e-5, atol=1e-6)
    for rows_ in (
        slice(0, 1),
        slice(333, 334),
        slice(250, 260),
        slice(100, 500),
        slice(1000, 1100),
    ):
        part = posterior.predict(x[rows_])
        np.testing.assert_allclose(part.mean, whole.mean[rows_], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(part.epistemic, whole.epistemic[rows_], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(part.mc_error, whole.mc_error[rows_], rtol=1e-2, atol=1e-6)


def test_same_seed_same_bits_other_seed_other_answer():
    network, x = mlp(*CLASSIFIER), rows(40, 20)
    first = Posterior(network, 20, seed=1).predict(x)
    assert np.array_equal(first.mean, Posterior(network, 20, seed=1).predict(x).mean)
    assert not np.array_equal(first.mean, Posterior(network, 20, seed=2).predict(x).mean)


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_the_first_30_passes_of_100_are_those_of_30(masks):
    network, x = mlp(*CLASSIFIER), rows(5, 20)
    hundred = Posterior(network, 100, masks=masks).sample(x)
    thirty = Posterior(network, 30, masks=masks).sample(x)
    np.testing.assert_allclose(hundred[:30], thirty, rtol=1e-6, atol=1e-7)


def test_stream_gives_what_predict_would():
    network, x = mlp(*CLASSIFIER), rows(300, 20)
    answers = list(Posterior(network, 50).stream(x))
    assert [answer.samples for answer in answers] == [8, 16, 32, 50]
    for answer in answers:
        whole = Posterior(network, answer.samples).predict(x)
        np.testing.assert_allclose(answer.mean, whole.mean, atol=1e-6)
        np.testing.assert_allclose(answer.epistemic, whole.epistemic, atol=1e-6)
        np.testing.assert_allclose(answer.mc_error, whole.mc_error, rtol=1e-3, atol=1e-6)


def test_without_dropout_there_is_no_epistemic_uncertainty():
    for rates in ((0.0, 0.0), (0, 0)):
        network = mlp((8, 16, 3), rates)
        network.insert(1, nn.Dropout(0.0))
        got = Posterior(network, 40).predict(rows(9, 8))
        assert (got.epistemic == 0).all()
        assert (got.std == 0).all()
        assert (got.mc_error == 0).all()
        assert np.array_equal(got.mean, got.deterministic.probabilities)
        assert got.agrees.all()


def test_deterministic_answer_is_the_eval_forward():
    network, x = mlp(*CLASSIFIER), rows(30, 20)
    want = softmax(network.eval()(x).double().detach().numpy())
    for temperature in (1.0, 0.5, 2.0):  # corrects the passes, which it was fitted to
        got = Posterior(network, 10, temperature=temperature).predict(x)
        np.testing.assert_allclose(got.deterministic.probabilities, want, atol=1e-6)


def test_shapes_and_dtypes():
    network = mlp(*CLASSIFIER)
    got = Posterior(network, 10).predict(rows(0, 20))
    assert got.mean.shape == (0, 5)
    assert got.prediction.dtype == np.int64
    got = Posterior(network, 10, task="regression", aleatoric=[1, 2, 3, 4, 5.0]).predict(
        rows(3, 20)
    )
    assert got.task == "regression"
    np.testing.assert_allclose(got.total - got.epistemic, [[1, 2, 3, 4, 5]] * 3)
    frozen = rows(4, 20).numpy()
    frozen.setflags(write=False)
    for x in (frozen, frozen[:, ::-1], rows(4, 20).double(), frozen.tolist(), rows(4, 20) > 0):
        assert Posterior(network, 10).predict(x).mean.dtype == np.float64
    assert Posterior(network, 7).sample(rows(4, 20)).shape == (7, 4, 5)


def test_large_outputs_keep_their_variance():
    network = mlp((13, 50, 1), (0.0, 0.3))
    with torch.no_grad():
        network[-1].bias.fill_(1e4)
    x = rows(50, 13)
    got = Posterior(network, 200).predict(x)
    want = masked_loop(network, x, [balanced_masks(0, 0, range(200), 50, 0.3)])
    np.testing.assert_allclose(got.epistemic, want.var(axis=0), rtol=2e-2)


@pytest.mark.parametrize("bias", [200.0, 1e4])
def test_extreme_logits(bias):
    network = mlp((4, 8, 2), (0.0, 0.5))
    with torch.no_grad():
        network[-1].bias.copy_(torch.tensor([bias, -bias]))
    got = Posterior(network, 50).predict(rows(6, 4))
    for name in ("mean", "std", "total", "aleatoric", "epistemic", "mc_error", "confidence"):
        assert np.isfinite(getattr(got, name)).all(), name
    assert (got.confidence == 1).all()


def every_kind():
    return nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(24, 16), nn.BatchNorm1d(16), nn.GELU()),
        nn.Dropout(0.2),
        nn.Linear(16, 12),
        nn.LayerNorm(12),
        nn.Tanh(),
        nn.Dropout(0.4),
        nn.Linear(12, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(8, 3),
    )


def test_normalization_layers_match_the_masked_loop_and_stay_untouched():
    torch.manual_seed(0)
    network = every_kind()
    x = torch.randn(64, 4, 6)
    network(x)  # moves the running statistics off their start
    network.train()
    before = copy.deepcopy(network.state_dict())
    posterior = Posterior(network, 40)
    samples = posterior.sample(x[:7])
    posterior.predict(x[:1])
    assert network.training
    assert all(module.training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    masks = [
        balanced_masks(0, layer, range(40), units, rate)
        for layer, (units, rate) in enumerate([(16, 0.2), (12, 0.4), (8, 0.1)])
    ]
    flat = copy.deepcopy(network)
    flat = nn.Sequential(*[m for m in flat.modules() if not isinstance(m, nn.Sequential)])
    want = softmax(masked_loop(flat, x[:7], masks))
    np.testing.assert_allclose(samples, want, atol=1e-5)


def test_convolutional_trunk_and_dropout_on_feature_maps():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.Conv2d(4, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(12, 4),
    )  # fmt: skip
    x = torch.randn(5, 1, 8, 8)
    got = Posterior(network, 64).predict(x)
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    with torch.no_grad():
        loop = np.stack([network(x).softmax(-1).double().numpy() for _ in range(2000)])
    want = summarize_classes(loop, got.mean)
    error = np.hypot(want.std / np.sqrt(64), want.mc_error)
    assert largest_z(got.mean, want.mean, error) < threshold(20)


class Backbone(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate, self.layer, self.norm = rate, nn.Linear(20, 16), nn.BatchNorm1d(16)

    def forward(self, x):
        return torch.relu(nn.functional.dropout(self.norm(self.layer(x)), self.rate, self.training))


class Noise(nn.Identity):
    def forward(self, x):
        return x + torch.rand(1)


def test_any_trunk_that_draws_nothing_runs_once():
    network = nn.Sequential(Backbone(0.0), nn.Dropout(0.5), nn.Linear(16, 3))
    before = copy.deepcopy(network.state_dict())
    x = rows(7, 20)
    got = Posterior(network, 40).sample(x)
    hidden = network.eval()[0](x).detach()
    want = masked_loop(network[1:], hidden, [balanced_masks(0, 0, range(40), 16, 0.5)])
    np.testing.assert_allclose(got, softmax(want), atol=1e-2)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Backbone(0.3), "Backbone"),
        (nn.TransformerEncoderLayer(20, 2, batch_first=True), "TransformerEncoderLayer"),
        (Noise(), "Noise"),
    ],
)
def test_a_trunk_that_draws_is_refused_by_name(module, name):
    network = nn.Sequential(module, nn.Dropout(0.5), nn.LazyLinear(3))
    network.eval()(rows(3, 20))
    with pytest.raises(NetworkError, match=rf"Sequential\.0 is a {name} that draws"):
        Posterior(network, 4).predict(rows(3, 20))


def test_layers_on_the_last_of_many_axes():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Unflatten(1, (4, 5)), nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.4), nn.Linear(6, 3),
        nn.Flatten(), nn.Linear(12, 2),
    )  # fmt: skip
    posterior = Posterior(network, 20)
    whole = posterior.predict(rows(90, 20))
    assert whole.mean.shape == (90, 2)
    np.testing.assert_allclose(
        posterior.predict(rows(90, 20)[7:8]).mean, whole.mean[7:8], atol=1e-6
    )


def test_changed_weights_are_noticed():
    network, x = mlp(*CLASSIFIER), rows(4, 20)
    posterior = Posterior(network, 20)
    before = posterior.predict(x).mean
    with torch.no_grad():
        network[0].weight.mul_(2.0)
    after = posterior.predict(x).mean
    assert not np.allclose(before, after)
    assert np.array_equal(after, Posterior(network, 20).predict(x).mean)
    network[2].p = 0.1
    assert not np.allclose(posterior.predict(x).mean, after)
    network[3] = nn.Linear(48, 32)
    assert np.array_equal(posterior.predict(x).mean, Posterior(network, 20).predict(x).mean)
    del network[len(network) :]  # nothing, but PyTorch makes the dictionary of modules anew
    network[3] = nn.Linear(48, 32)
    assert np.array_equal(posterior.predict(x).mean, Posterior(network, 20).predict(x).mean)
    network.bfloat16().float()  # through `tensor.data`: the same tensors over other memory
    assert np.array_equal(posterior.predict(x).mean, Posterior(network, 20).predict(x).mean)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_any_grad_mode(mode):
    network, x = mlp(*CLASSIFIER), rows(4, 20)
    want = Posterior(network, 20).predict(x).mean
    with mode():
        posterior = Posterior(network, 20)
        assert np.array_equal(posterior.predict(x).mean, want)
    assert np.array_equal(posterior.predict(x).mean, want)
    with torch.inference_mode():
        inside = copy.deepcopy(network)
    assert np.array_equal(Posterior(inside, 20).predict(x).mean, want)


def test_two_threads_get_what_one_gets():
    network, x = mlp(*CLASSIFIER), rows(200, 20)
    posterior = Posterior(network, 50)
    want = Posterior(network, 50).predict(x).mean
    results: list[np.ndarray] = []

    def work():
        results.extend(posterior.predict(x).mean for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    assert all(np.array_equal(result, want) for result in results)


def test_no_global_state_is_touched():
    network = mlp(*CLASSIFIER)
    before = torch.get_rng_state().clone(), torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    Posterior(network, 20).predict(rows(4, 20))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert torch.get_float32_matmul_precision() == precision


class Hidden(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, self.training)


class Loud(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.randn(1)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Hidden(), "Hidden"),
        (Loud(4, 4), "Loud"),
        (nn.LSTM(4, 4, 2, dropout=0.5), "LSTM"),
        (nn.TransformerEncoderLayer(4, 2), "TransformerEncoderLayer"),
        (nn.MultiheadAttention(4, 2, dropout=0.1), "MultiheadAttention"),
        (nn.RReLU(), "RReLU"),
        (nn.AlphaDropout(0.5), "AlphaDropout"),
        (nn.FractionalMaxPool2d(2, output_size=2), "FractionalMaxPool2d"),
        (nn.Dropout(1.0), "Dropout"),
        (nn.BatchNorm1d(4, track_running_stats=False), "BatchNorm1d"),
        (nn.Softmax(dim=1), "Softmax"),
    ],
)
def test_what_cannot_be_seen_is_refused_by_name(module, name):
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.5), module))
    with pytest.raises(NetworkError, match=rf"1\.1 is a {name}"):
        Posterior(network)


def test_other_networks_are_refused():
    with pytest.raises(NetworkError, match="Sequential"):
        Posterior(Hidden())
    hooked = mlp(*CLASSIFIER)
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(NetworkError, match="hooks"):
        Posterior(hooked)
    with pytest.raises(NetworkError, match="two outputs"):
        Posterior(mlp(*INPUT_DROPOUT), task="classification").predict(rows(2, 13))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 19), "19 features, wanted 20"),
        (torch.zeros(20), "shape"),
        (torch.zeros(3, 4, 5, 2), "features|cannot take"),
        (torch.full((3, 20), torch.nan), "row 0 holds NaN"),
        (np.array([[0.0] * 20, [np.inf] + [0.0] * 19]), "row 1 holds"),
        ([["a"] * 20], "numbers"),
        (torch.zeros(2, 20, dtype=torch.complex64), "shape|numbers"),
    ],
)
def test_bad_rows_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        Posterior(mlp(*CLASSIFIER), 4).predict(x)


@pytest.mark.parametrize(
    "arguments",
    [
        {"samples": 0},
        {"samples": 1.5},
        {"seed": -1},
        {"seed": 2**64},
        {"task": "clustering"},
        {"masks": "none"},
        {"precision": "int8"},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"aleatoric": -1.0},
        {"target_variance": [[1.0]]},
    ],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Posterior(mlp(*CLASSIFIER), **arguments)


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_a_learned_variance_is_averaged_over_passes_and_told_apart_from_the_means(masks):
    network = mlp((3, 30, 4), (0.1, 0.3))
    x = rows(9, 3)
    options = {"samples": 64, "seed": 2, "task": "regression", "masks": masks}
    plain = Posterior(network, **options).sample(x)  # (T, B, 4)
    learned = Posterior(network, variance="learned", target_variance=2.0, **options)
    answer, passes = learned.predict(x), learned.sample(x)
    np.testing.assert_allclose(passes[..., :2], plain[..., :2], rtol=1e-5)
    np.testing.assert_allclose(passes[..., 2:], np.exp(plain[..., 2:]), rtol=1e-4)
    np.testing.assert_allclose(answer.mean, plain[..., :2].mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(answer.epistemic, plain[..., :2].var(0), rtol=1e-3)
    np.testing.assert_allclose(answer.aleatoric, np.exp(plain[..., 2:]).mean(0), rtol=1e-4)
    with torch.inference_mode():
        expected = copy.deepcopy(network).eval()(torch.as_tensor(x)).numpy()[:, :2]
    np.testing.assert_allclose(answer.deterministic.mean, expected, rtol=1e-5, atol=1e-6)
    assert answer.mc_error.shape == answer.target_variance.shape == (9, 2)
    *_, last = learned.stream(x)
    np.testing.assert_allclose(last.aleatoric, answer.aleatoric, rtol=1e-6)


def test_a_learned_variance_that_explodes_stays_a_number():
    network = mlp((2, 8, 2), (0.0, 0.2))
    network[-1].bias.data[1] = 500.0
    answer = Posterior(network, task="regression", variance="learned").predict(rows(5, 2))
    assert np.isfinite(answer.std).all()


def test_a_learned_variance_needs_a_regression_and_pairs_of_outputs():
    with pytest.raises(InputError, match="needs task 'regression'"):
        Posterior(mlp((3, 8, 2), (0.0, 0.3)), variance="learned")
    odd = Posterior(mlp((3, 8, 3), (0.0, 0.3)), task="regression", variance="learned")
    with pytest.raises(NetworkError, match="the network has 3 outputs"):
        odd.predict(rows(2, 3))


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_one_pass_disagrees_with_nothing(precision: str) -> None:
    network = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 3))
    stats = Posterior(network, 1, precision=precision).predict(torch.randn(70, 6))
    assert not stats.epistemic.any()
    assert not stats.std.any()
    assert np.array_equal(stats.total, stats.aleatoric)


def test_certain_answers_have_no_negative_zero() -> None:
    from mcdrop.uncertainty import entropy

    assert str(entropy(np.array([[1.0, 0.0]]))[0]) == "0.0"


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("count", [1, 3, 5, 40])
def test_each_row_takes_the_passes_it_needs(engine, count, monkeypatch):
    """A row's answer is that of as many passes alone, whatever rows are beside it."""
    monkeypatch.setenv("MCDROP_ENGINE", engine)
    network, x = mlp(*CLASSIFIER, gain=1.3), rows(count, 20)
    x[::2] *= 0.02  # rows that need few passes
    got = Posterior(network, 500, precision="float32").until(x, 0.012)
    assert got.passes is not None
    assert got.samples == got.passes.max()
    if count > 3:
        assert got.passes.min() < got.passes.max()
    done = got.settled(0.012)
    assert (got.passes[~done] == 500).all()
    for row in range(0, count, 7):
        alone = Posterior(network, int(got.passes[row]), precision="float32").predict(x[row][None])
        np.testing.assert_allclose(got.mean[row], alone.mean[0], atol=2e-6)
        np.testing.assert_allclose(got.epistemic[row], alone.epistemic[0], atol=2e-6)
        np.testing.assert_allclose(got.mc_error[row], alone.mc_error[0], rtol=1e-3, atol=1e-7)


def test_passes_until_certain_is_at_least_a_block_and_at_most_all():
    network, x = mlp(*CLASSIFIER), rows(6, 20)
    assert (Posterior(network, 200).until(x, 10.0).passes == 32).all()
    assert (Posterior(network, 200).until(x, 1e-9).passes == 200).all()
    assert (Posterior(network, 20).until(x, 1e-9).passes == 20).all()
    assert Posterior(network, 200).until(x[:0], 0.01).mean.shape == (0, 5)


def test_a_regression_is_certain_relative_to_its_spread():
    network, x = mlp((8, 32, 1), (0.0, 0.5)), rows(9, 8)
    for scale, offset in ((1.0, 0.0), (1e3, 1e4)):
        with torch.no_grad():
            network[-1].weight *= scale
            network[-1].bias.mul_(scale).add_(offset)
        got = Posterior(network, 2000).until(x, 0.03)
        assert (got.mc_error[got.passes < 2000] <= 0.03 * got.std[got.passes < 2000]).all()
        noisy = Posterior(network, 2000, aleatoric=(10 * scale) ** 2).until(x, 0.03)
        assert (noisy.passes <= got.passes).all()


def test_passes_until_certain_says_what_it_cannot_do():
    network, x = mlp(*CLASSIFIER), rows(2, 20)
    for tolerance in (0.0, float("nan"), -1.0):
        with pytest.raises(InputError, match="tolerance"):
            Posterior(network, 10).until(x, tolerance)
    with pytest.raises(InputError, match="share them"):
        Posterior(network, 10, masks="independent").until(x, 0.1)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_masks_may_change_from_block_to_block(engine, monkeypatch):
    if engine == "torch":
        monkeypatch.setenv("MCDROP_ENGINE", "torch")
    network, x = mlp(*CLASSIFIER), rows(50, 20)
    blocks = Posterior(network, 40, seed=3, block=16, precision="float32")
    shared = Posterior(network, 40, seed=3, precision="float32")
    passes = blocks.sample(x)
    np.testing.assert_allclose(passes[:, :16], shared.sample(x[:16]), rtol=1e-5, atol=1e-6)
    for block in range(4):
        part = slice(16 * block, 16 * block + 16)
        masks = [
            balanced_masks(3, layer, range(40), units, rate, row=block)
            for layer, (units, rate) in enumerate([(48, 0.3), (32, 0.5)])
        ]
        want = softmax(masked_loop(network, x[part], masks))
        np.testing.assert_allclose(passes[:, part], want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(blocks.predict(x).mean, passes.mean(axis=0), atol=1e-6)
    *_, last = blocks.stream(x)
    np.testing.assert_allclose(last.mean, passes.mean(axis=0), atol=1e-6)


def test_averages_over_rows_vary_less_with_blocks_of_masks():
    """Between seeds; shared masks move all rows together."""
    network, x = mlp(*CLASSIFIER), rows(1, 20).repeat(256, 1)
    scatter = [
        np.std([Posterior(network, 8, seed, block=block).predict(x).mean[:, 0].mean()
                for seed in range(40)])
        for block in (None, 16)
    ]  # fmt: skip
    assert scatter[1] < scatter[0] / 2  # sixteen sets of masks: a quarter is expected


def test_blocks_need_shared_masks():
    with pytest.raises(InputError, match="no block"):
        Posterior(mlp(*CLASSIFIER), masks="independent", block=4)
    with pytest.raises(InputError, match="block"):
        Posterior(mlp(*CLASSIFIER), block=0)


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_linear_layers_over_the_last_of_several_axes(masks, monkeypatch):
    """A trunk may leave more axes than a kernel takes; its units drop one by one all the same."""
    torch.manual_seed(0)
    modules = nn.Conv1d(1, 4, 3), nn.Dropout(0.5), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2)
    network, x = nn.Sequential(*modules), torch.randn(5, 1, 10)
    got = Posterior(network, 40, masks=masks).predict(x)
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    want = Posterior(network, 40, masks=masks)
    assert want.engine == "torch"
    np.testing.assert_allclose(got.mean, want.predict(x).mean, rtol=1e-5, atol=1e-6)
    outputs = want.sample(x)
    np.testing.assert_allclose(got.mean, outputs.mean(axis=0), rtol=1e-5, atol=1e-6)
