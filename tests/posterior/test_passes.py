"""Each pass is the thinned network of its masks, in any company and on any way."""

import numpy as np
import pytest
from torch import nn

from mcdrop.masks import balanced_masks
from mcdrop.posterior import Posterior
from mcdrop.uncertainty import summarize_classes, summarize_outputs
from tests.oracle import masked_loop, mlp, rows, softmax
from tests.posterior.comparing import CLASSIFIER, DEEP, INPUT_DROPOUT


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
