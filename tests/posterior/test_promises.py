"""What evaluating leaves alone, notices and can bear: weights, threads, modes, memory."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop.posterior import Posterior
from tests.oracle import by_threads, mlp, rows
from tests.posterior.comparing import CLASSIFIER

ROOT = Path(__file__).parents[2]


def test_memory_does_not_grow_with_rows_times_passes():
    """100,000 rows at T = 100: 80 MB of logits alone, were they ever held, and far more inside."""
    code = """
import resource, sys
import torch
torch.set_num_threads(1)
from mcdrop.posterior import Posterior
from tests.oracle import by_threads, mlp, rows
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
    results = by_threads(lambda: posterior.predict(x).mean, times=10)
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
