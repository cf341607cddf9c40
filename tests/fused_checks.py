"""The GPU's kernels against PyTorch: under Triton's interpreter, or on a GPU.

Not collected by name: `test_fused` runs this file in a process of its own, whose environment says
where (``MCDROP_TEST_DEVICE``) and how before Triton is imported.
"""

import copy
import os

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop.engine.chip import fits
from mcdrop.engine.draw import Masks
from mcdrop.engine.fused import Fused
from mcdrop.engine.layers import linear_layers
from mcdrop.errors import NetworkError
from mcdrop.plan import read_layout
from mcdrop.posterior import Posterior
from tests.oracle import mlp, rows

DEVICE = torch.device(os.environ.get("MCDROP_TEST_DEVICE", "cpu"))
ROUNDING = {"rtol": 1e-5, "atol": 1e-6} if DEVICE.type == "cpu" else {"rtol": 5e-5, "atol": 5e-6}
SHAPES = [
    ((20, 48, 32, 5), (0.0, 0.3, 0.5)),
    ((20, 40, 17, 4), (0.5, 0.6, 0.1)),
    ((20, 48, 33, 9, 3), (0.0, 0.3, 0.0, 0.5)),  # a layer without dropout
    ((13, 50, 1), (0.05, 0.05)),
    ((30, 7), (0.4,)),  # a single layer
    ((3, 1, 1, 2), (0.5, 0.5, 0.5)),  # one unit, often none
    ((5, 9, 70), (0.0, 0.2)),  # many classes
]
NAMES = (
    *("mean", "std", "epistemic", "mc_error", "total"),
    *("mc_error_total", "mc_error_epistemic"),
)


@pytest.fixture(autouse=True, scope="session")
def _products_of_bfloat16():
    """The interpreter multiplies the bits of bfloat16 as if they were integers: mended here."""
    if DEVICE.type == "cuda":
        yield
        return
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    def widened(part):
        return TensorHandle((part.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self, a, b, *rest):
        if a.dtype.scalar == tl.bfloat16:
            a, b = widened(a), widened(b)
        return plain(self, a, b, *rest)

    plain, InterpreterBuilder.create_dot = InterpreterBuilder.create_dot, create_dot
    yield
    InterpreterBuilder.create_dot = plain


def both(network, samples=33, **settings):
    """The posterior by Triton, and by PyTorch on the processor."""
    settings = {"seed": 2**63 + 5, "precision": "float32", **settings}
    before = os.environ.pop("MCDROP_ENGINE", None)
    try:
        os.environ["MCDROP_ENGINE"] = "torch"
        other = Posterior(copy.deepcopy(network), samples, **settings)
        assert other.engine == "torch"
        os.environ["MCDROP_ENGINE"] = "triton"
        ours = Posterior(network.to(DEVICE), samples, **settings)
    finally:
        del os.environ["MCDROP_ENGINE"]
        if before is not None:
            os.environ["MCDROP_ENGINE"] = before
    return ours, other


def assert_same(got, want, rtol, atol):
    assert got.samples == want.samples
    for name in NAMES:
        if hasattr(want, name):
            values = getattr(got, name), getattr(want, name)
            np.testing.assert_allclose(*values, rtol=rtol, atol=atol, err_msg=name)
    answers = [s.deterministic.__dict__ for s in (got, want)]
    for name, values in answers[1].items():
        np.testing.assert_allclose(answers[0][name], values, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("shape", "count"), [*((shape, 3) for shape in SHAPES), (SHAPES[0], 67), (SHAPES[3], 129)]
)
def test_it_says_what_torch_says(shape, count):
    ours, other = both(mlp(*shape))
    assert ours.engine == "triton"
    x = rows(count, shape[0][0])
    assert_same(ours.predict(x), other.predict(x), **ROUNDING)


@pytest.mark.parametrize("samples", [1, 7, 100, 300])
def test_any_number_of_passes_and_a_temperature(samples):
    ours, other = both(mlp((4, 6, 3), (0.0, 0.4)), samples, temperature=2.5)
    x = rows(5, 4)
    assert_same(ours.predict(x), other.predict(x), **ROUNDING)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_streams_and_as_many_passes_as_rows_need(task):
    ours, other = both(mlp(*SHAPES[0]), 40, task=task)
    x = rows(9, 20)
    for got, want in zip(ours.stream(x), other.stream(x), strict=True):
        assert_same(got, want, **ROUNDING)
    got, want = ours.until(x, 0.05), other.until(x, 0.05)
    assert np.array_equal(got.passes, want.passes)
    assert_same(got, want, **ROUNDING)


@pytest.mark.parametrize("rate", [1e-6, 0.999])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rates_near_0_and_1(rate, task):
    ours, other = both(mlp((6, 17, 19, 3), (rate, rate, rate)), task=task)
    x = rows(9, 6)
    # passes that agree leave a root of rounding as spread, and a rate of .999 multiplies by 1000
    assert_same(ours.predict(x), other.predict(x), rtol=1e-4, atol=4e-3 if rate > 0.5 else 4e-4)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[2], SHAPES[3], SHAPES[5]])
def test_own_masks(shape, monkeypatch):
    ours, other = both(mlp(*shape), 9, masks="independent")
    assert ours.engine == "triton"
    monkeypatch.setattr("mcdrop.engine._SLAB", 8 * shape[0][-1] * 10)  # blocks of ten rows
    assert ours._current().engine.rows < 200
    x = rows(13, shape[0][0])
    assert_same(ours.predict(x), other.predict(x), **ROUNDING)


def test_masks_that_are_not_kept_give_the_same(monkeypatch):
    monkeypatch.setattr("mcdrop.engine.fused._MASKS", 1)
    ours, other = both(mlp(*SHAPES[0]), 70)
    x = rows(5, 20)
    assert_same(ours.predict(x), other.predict(x), **ROUNDING)


def test_masks_that_change_every_few_rows():
    ours, other = both(mlp(*SHAPES[0]), 9, block=4)
    x = rows(9, 20)
    assert_same(ours.predict(x), other.predict(x), **ROUNDING)


def test_bfloat16_adds_little_to_the_monte_carlo_error(monkeypatch):
    monkeypatch.setattr("mcdrop.engine._has_bfloat16", lambda layout: True)
    network, x = mlp((64, 128, 64, 10), (0.0, 0.3, 0.5)), rows(40, 64)
    ours, other = both(network, 100, precision="auto")
    exact = both(network, 100)[1].predict(x)
    errors = [np.square(p.predict(x).mean - exact.mean).mean() ** 0.5 for p in (ours, other)]
    assert 1e-5 < errors[0] < 0.06 * np.square(exact.mc_error).mean() ** 0.5
    # PyTorch takes away what dropped units add, here .3 of all: less to round
    assert errors[0] < 1.2 * (0.7 / 0.3) ** 0.5 * errors[1]


def test_a_row_gets_the_same_bits_in_any_company():
    ours, _ = both(mlp(*SHAPES[0]), 9)
    x = rows(130, 20)
    whole = ours.predict(x)
    for places in ([3], [129], range(60, 70), range(129, -1, -2)):
        part = ours.predict(x[list(places)])
        for name in ("mean", "std", "epistemic", "mc_error"):
            # the trunk's products, PyTorch's, may differ in the last bit by their shape
            values = getattr(part, name), getattr(whole, name)[list(places)]
            np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-7)


def test_no_rows():
    got = both(mlp(*SHAPES[0]))[0].predict(rows(0, 20))
    assert got.mean.shape == (0, 5)
    assert got.mc_error_total.shape == (0,)


def test_outputs_that_are_not_finite_are_an_error():
    network = mlp(*SHAPES[0])
    with torch.no_grad():
        network[-1].weight[0, 0] = float("nan")
    with pytest.raises(NetworkError, match="not finite"):
        both(network)[0].predict(rows(3, 20))


@pytest.mark.parametrize("masks", ["shared", "independent"])
@pytest.mark.parametrize("network", ["wide", "tanh", "convolution"])
def test_what_does_not_fit_is_evaluated_by_torch_and_summed_up_here(network, masks):
    torch.manual_seed(0)
    networks = {
        "wide": lambda: (mlp((20, 300, 5), (0.0, 0.5)), (20,)),
        "tanh": lambda: (nn.Sequential(nn.Dropout(0.2), nn.Linear(20, 5), nn.Tanh()), (20,)),
        "convolution": lambda: (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.3), nn.Conv2d(2, 3, 4), nn.Flatten()),
            (1, 6, 6),
        ),
    }
    made, shape = networks[network]()
    ours, other = both(made, masks=masks)
    assert ours.engine == "torch"
    assert ours._current().engine.finishes
    for count in (1, 9):
        x = torch.randn(count, *shape)
        assert_same(ours.predict(x), other.predict(x), **ROUNDING)


def test_learned_variances_are_evaluated_by_torch():
    settings = {"task": "regression", "variance": "learned"}
    ours, other = both(mlp((5, 20, 2), (0.0, 0.3)), **settings)
    assert ours.engine == "torch"
    x = rows(9, 5)
    assert_same(ours.predict(x), other.predict(x), **ROUNDING)
    np.testing.assert_allclose(ours.predict(x).aleatoric, other.predict(x).aleatoric, rtol=1e-5)


def test_only_what_fits_on_the_chip_is_said_to_fit():
    def layers(*widths):
        return linear_layers(read_layout(mlp(widths, [0.0, *[0.5] * (len(widths) - 2)])))

    assert fits(layers(784, 256, 128, 10), reduced=True)
    assert not fits(layers(784, 256, 128, 10), reduced=False)
    assert not fits(layers(784, 1024, 1024, 10), reduced=True)
    assert fits(layers(13, 50, 1), reduced=False)


def test_where_the_kernel_cannot_be_compiled_torch_serves(monkeypatch):
    def broken(self, *rest):
        raise RuntimeError("out of resources: shared memory")

    monkeypatch.setattr(Fused, "_run", broken)
    ours, other = both(mlp(*SHAPES[0]))
    assert ours.engine == "torch"
    x = rows(3, 20)
    assert_same(ours.predict(x), other.predict(x), **ROUNDING)


def test_another_seed_is_another_plan():
    layout = read_layout(mlp(*SHAPES[0]).to(DEVICE))
    fused = Fused(linear_layers(layout), Masks(1, "shared"), 9, reduced=False)
    hidden = layout.trunk(rows(3, 20).to(DEVICE))
    answers = [each.predict(hidden, 1.0) for each in (fused, fused.under(Masks(2, "shared")))]
    assert not np.array_equal(*answers)
    assert np.array_equal(answers[0], fused.predict(hidden, 1.0))
