"""The native kernel against the other ways of evaluating the same passes, and its promises."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop.engine import kernel
from mcdrop.masks import plain_masks
from mcdrop.posterior import Posterior
from tests.oracle import by_threads, mlp, rows

KERNEL = kernel.library()
pytestmark = pytest.mark.skipif(KERNEL is None, reason="the native kernel was not built")

BFLOAT16 = KERNEL is not None and bool(KERNEL.mcdrop_reduced())
SHAPES = [
    ((20, 48, 32, 5), (0.0, 0.3, 0.5)),
    ((20, 40, 30, 4), (0.5, 0.6, 0.1)),  # kept units of the first layer, not dropped ones
    ((20, 48, 33, 9, 3), (0.0, 0.3, 0.0, 0.5)),  # a layer without dropout
    ((13, 50, 1), (0.05, 0.05)),
    ((1, 41, 43, 1), (0.0, 0.1, 0.1)),
    ((30, 7), (0.4,)),  # a single layer
    ((3, 1, 1, 2), (0.5, 0.5, 0.5)),  # one unit, often none
    ((7, 1100, 3), (0.0, 0.5)),  # wide
    ((5, 9, 70), (0.0, 0.2)),  # many classes
]
# Regressions wide enough for bfloat16, corrected: the first layer with dropped units taken away,
# and with kept ones.
WIDE = [
    ((1, 101, 120, 110, 1), (0.0, 0.1, 0.1, 0.1)),
    ((9, 90, 110, 50, 1), (0.6, 0.1, 0.0, 0.2)),
]
NAMES = ("mean", "std", "epistemic", "mc_error", "total", "mc_error_epistemic")


def both(network, monkeypatch, samples=70, **settings):
    """The posterior by the kernel and by PyTorch."""
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    torch_ = Posterior(network, samples, seed=2**63 + 5, **settings)
    assert torch_.engine == "torch"
    monkeypatch.delenv("MCDROP_ENGINE")
    native_ = Posterior(network, samples, seed=2**63 + 5, **settings)
    assert native_.engine == "native"
    return native_, torch_


def assert_same(got, want, rtol, atol):
    for name in NAMES:
        if hasattr(want, name):
            values = getattr(got, name), getattr(want, name)
            np.testing.assert_allclose(*values, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 15, 33, 49, 333])
def test_float32_is_what_torch_says(shape, count, monkeypatch):
    ours, other = both(mlp(*shape), monkeypatch, precision="float32")
    x = rows(count, shape[0][0])
    assert_same(ours.predict(x), other.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not BFLOAT16, reason="no products of bfloat16 here")
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_what_torch_says_but_for_rounding(shape, monkeypatch):
    network, x = mlp(*shape), rows(101, shape[0][0])
    ours, other = both(network, monkeypatch)
    exact, other_exact = both(network, monkeypatch, precision="float32")
    want = exact.predict(x)
    np.testing.assert_allclose(other_exact.predict(x).mean, want.mean, rtol=1e-5, atol=1e-6)
    errors = [np.abs(p.predict(x).mean - want.mean).max() for p in (ours, other)]
    assert errors[0] <= max(1.2 * errors[1], 2e-6)  # no coarser than PyTorch's products
    assert errors[0] < 1e-6 or shape[0][-1] > 1  # a regression is never coarse


@pytest.mark.skipif(not BFLOAT16, reason="no products of bfloat16 here")
@pytest.mark.parametrize("shape", WIDE)
@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_a_wide_regression_is_corrected_for_what_bfloat16_takes(shape, masks):
    """Systematic errors are far below the Monte Carlo error of 100 passes; answers stay exact."""
    network, x = mlp(*shape), rows(40, shape[0][0])
    pairs = [
        [
            Posterior(network, 100, seed, masks=masks, precision=precision).predict(x)
            for precision in ("auto", "float32")
        ]
        for seed in range(8)
    ]
    error = np.mean([coarse.mean - fine.mean for coarse, fine in pairs], axis=0)
    scatter = np.std([fine.mean for _, fine in pairs], axis=0, ddof=1)
    share = np.sqrt((error**2).mean() / (scatter**2).mean())
    assert 1e-5 < share < 0.03  # uncorrected, .1
    for coarse, fine in pairs:
        assert np.array_equal(coarse.deterministic.mean, fine.deterministic.mean)
        np.testing.assert_allclose(coarse.epistemic, fine.epistemic, rtol=0.02)


@pytest.mark.parametrize("rate", [1e-6, 0.999])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rates_near_0_and_1(rate, task, monkeypatch):
    network = mlp((6, 17, 19, 3), (rate, rate, rate))
    ours, other = both(network, monkeypatch, precision="float32", task=task)
    x = rows(50, 6)
    # a rate of .999 multiplies by 1000
    assert_same(ours.predict(x), other.predict(x), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("samples", [1, 7, 8, 300])
def test_any_number_of_passes_and_a_temperature(samples, monkeypatch):
    ours, other = both(mlp(*SHAPES[0]), monkeypatch, samples, precision="float32", temperature=2.5)
    x = rows(40, 20)
    assert_same(ours.predict(x), other.predict(x), rtol=1e-5, atol=1e-6)
    for got, want in zip(ours.stream(x), other.stream(x), strict=True):
        assert got.samples == want.samples
        assert_same(got, want, rtol=1e-5, atol=1e-6)


def test_weights_that_are_not_kept_give_the_same(monkeypatch):
    network, x = mlp(*SHAPES[0]), rows(60, 20)
    want = Posterior(network, 70, precision="float32").predict(x)
    monkeypatch.setattr("mcdrop.engine._KEPT", 0)
    monkeypatch.setattr("mcdrop.engine._SLAB", 50_000)
    got = Posterior(network, 70, precision="float32")
    assert got.engine == "native"
    assert_same(got.predict(x), want, rtol=1e-6, atol=1e-7)


def test_few_rows_do_not_wait_for_weights_that_are_not_kept(monkeypatch):
    def thin(*_):
        raise AssertionError("weights were gathered")

    network, x = mlp((20, 200, 200, 5), (0.0, 0.5, 0.5)), rows(20, 20)
    want = Posterior(network, 70, precision="float32").predict(x)
    monkeypatch.setattr("mcdrop.engine._KEPT", 0)
    monkeypatch.setattr("mcdrop.engine._SLAB", 50_000)
    monkeypatch.setattr("mcdrop.engine.packing.Packing.thin", thin)
    got = Posterior(network, 70, precision="float32")
    assert_same(got.predict(x), want, rtol=1e-6, atol=1e-7)
    with pytest.raises(AssertionError, match="gathered"):
        got.predict(rows(400, 20))


def numbers(posterior, x):
    """All statistics of rows, side by side (B, ...)."""
    answer = posterior.predict(x)
    parts = [answer.mean, answer.std, answer.mc_error, answer.deterministic.prediction[:, None]]
    if answer.task == "classification":
        lists = answer.epistemic, answer.mc_error_total, answer.mc_error_epistemic
        parts += [*(part[:, None] for part in lists), answer.deterministic.probabilities]
    return np.concatenate([part.reshape(len(x), -1) for part in parts], axis=1)


@pytest.mark.parametrize("precision", ["auto", "float32"])
@pytest.mark.parametrize("shape", SHAPES + WIDE)
def test_a_row_gets_the_same_bits_in_any_company(shape, precision):
    """Alone or among many, whichever way the kernel goes, and wherever its row lies."""
    posterior = Posterior(mlp(*shape), 50, precision=precision, temperature=1.5)
    x = rows(700, shape[0][0])
    whole = numbers(posterior, x)
    order = np.random.default_rng(0).permutation(700)
    assert np.array_equal(numbers(posterior, x[order]), whole[order])
    for places in ([3], [699], range(5, 22), range(100, 149), range(97), range(300, 364)):
        assert np.array_equal(numbers(posterior, x[list(places)]), whole[list(places)])
    for few in (0, 100):
        posterior._passes.engine.native._few = few
        assert np.array_equal(numbers(posterior, x[:40]), whole[:40])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 70])
def test_own_masks_are_what_torch_says(shape, samples, monkeypatch):
    options = {"masks": "independent", "precision": "float32"}
    ours, other = both(mlp(*shape), monkeypatch, samples, **options)
    x = rows(21, shape[0][0])
    assert_same(ours.predict(x), other.predict(x), rtol=1e-5, atol=4e-6)
    assert_same(ours.predict(x[:5]), other.predict(x[:5]), rtol=1e-5, atol=4e-6)
    for got, want in zip(ours.stream(x), other.stream(x), strict=True):
        assert_same(got, want, rtol=1e-5, atol=4e-6)


def test_own_masks_of_many_rows_come_in_spans(monkeypatch):
    posterior, x = Posterior(mlp(*SHAPES[0]), 30, masks="independent"), rows(100, 20)
    want = posterior.predict(x)
    monkeypatch.setattr("mcdrop.engine.native._BITS", 5000)
    got = Posterior(mlp(*SHAPES[0]), 30, masks="independent").predict(x)
    assert np.array_equal(got.mean, want.mean)


@pytest.mark.parametrize("units", [1, 31, 64, 200])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_the_kernel_draws_the_bits_of_plain_masks(units, rate):
    least = min(round(rate * 2**32), 2**32 - 1)
    words = np.empty((7, 5, -(-units // 64)), np.uint64)
    KERNEL.mcdrop_draw(2**63 + 9, 2, 4, 7, 3, 5, units, least, 0, words.ctypes.data)
    bits = np.unpackbits(words.view(np.uint8), axis=2, bitorder="little")[..., :units]
    want = plain_masks(2**63 + 9, 2, range(3, 8), units, rate, range(4, 11))  # (T, B, units)
    assert np.array_equal(bits.astype(bool), want.transpose(1, 0, 2))


@pytest.mark.parametrize("count", [1, 50])
def test_rows_may_lie_anywhere(count):
    posterior, x = Posterior(mlp(*SHAPES[0]), 20), rows(count, 20)
    want = posterior.predict(x).mean
    shifted = torch.zeros(count * 20 + 1)[1:].view(count, 20).copy_(x)
    odd = torch.frombuffer(bytearray(count * 80 + 1), dtype=torch.float32, offset=1)
    odd = odd.view(count, 20).copy_(x)
    spread = torch.zeros(count, 40)[:, ::2].copy_(x)
    for other in (shifted, odd, spread, x.double(), x.T.contiguous().T):
        assert np.array_equal(posterior.predict(other).mean, want)


def test_a_trunk_that_the_kernel_cannot_run_is_run_by_torch(monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 5)
    )
    for masks in ("shared", "independent"):
        ours, other = both(network, monkeypatch, precision="float32", masks=masks)
        monkeypatch.setattr("mcdrop.engine._SLAB", 8 * 5 * 3 * 16)  # blocks of 16 rows
        for count in (1, 70):
            x = torch.randn(count, 1, 6, 6)
            assert_same(ours.predict(x), other.predict(x), rtol=1e-5, atol=4e-6)


def test_no_rows():
    got = Posterior(mlp(*SHAPES[0]), 20).predict(rows(0, 20))
    assert got.mean.shape == (0, 5)


def test_threads_give_what_one_gives():
    network, x = mlp(*SHAPES[0]), rows(1000, 20)
    posterior, before = Posterior(network, 40), torch.get_num_threads()
    want = posterior.predict(x)
    try:
        torch.set_num_threads(3)
        assert_same(posterior.predict(x), want, rtol=1e-5, atol=1e-6)
    finally:
        torch.set_num_threads(before)
    results = by_threads(lambda: posterior.predict(x).mean, times=5)
    assert len(results) == 20
    assert all(np.array_equal(result, want.mean) for result in results)


def test_a_reason_is_given(monkeypatch):
    assert kernel.reason().split(";")[0] in kernel.BUILDS
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    assert kernel.library() is None
    assert "MCDROP_ENGINE" in kernel.reason()


def test_what_the_kernel_cannot_do_is_left_to_torch(monkeypatch):
    gelu = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2))
    assert Posterior(gelu).engine == "torch"
    assert Posterior(mlp(*SHAPES[0]).double()).engine == "torch"
    monkeypatch.setattr(kernel, "_load", lambda: (None, "none"))
    assert Posterior(mlp(*SHAPES[0])).engine == "torch"


def test_broken_weights_are_seen():
    network = mlp(*SHAPES[0])
    posterior = Posterior(network, 20)
    with torch.no_grad():
        network[-1].weight[0, 0] = torch.nan
    with pytest.raises(Exception, match="not finite"):
        posterior.predict(rows(20, 20))


@pytest.mark.parametrize("build", kernel.BUILDS)
def test_every_build_this_processor_runs_agrees(build, monkeypatch):
    path = Path(kernel.__file__).with_name(f"kernel_{build}.so")
    features = torch.cpu.get_capabilities()
    if not path.exists() or not all(features.get(need) for need in kernel.BUILDS[build]):
        pytest.skip("not built, or not for this processor")
    library = kernel._declared(ctypes.CDLL(str(path)))
    for shape in SHAPES:
        ours, other = both(mlp(*shape), monkeypatch, precision="float32")
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "_load", lambda: (library, build))
            x = rows(77, shape[0][0])
            got = ours.predict(x)
        assert_same(got, other.predict(x), rtol=1e-5, atol=4e-6)
