"""The GPU's kernels: interpreted and compiled on any machine, run where a GPU is."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mcdrop.engine.chip import fits, lacking
from mcdrop.engine.draw import Masks, own_masks
from mcdrop.engine.fused import Fused
from mcdrop.engine.layers import linear_layers
from mcdrop.masks import plain_masks
from mcdrop.plan import read_layout
from mcdrop.posterior import Posterior
from tests.oracle import mlp, rows

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
NETWORK = ((784, 256, 128, 10), (0.0, 0.3, 0.5))


def check(environment: dict[str, str]) -> None:
    """Run the checks in a process that imports Triton under another environment."""
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"]
    outcome = subprocess.run(
        [*command, "-o", "addopts=", "tests/fused_checks.py"],
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert outcome.returncode == 0, outcome.stdout[-8000:] + outcome.stderr[-2000:]
    assert re.search(r"\d\d passed", outcome.stdout)
    assert "skipped" not in outcome.stdout


def test_under_the_interpreter():
    pytest.importorskip("triton")
    check({"TRITON_INTERPRET": "1", "MCDROP_ENGINE": "triton", "MCDROP_TEST_DEVICE": "cpu"})


def test_what_keeps_a_processor_from_it_is_said(monkeypatch):
    assert "cpu device" in lacking(CPU)
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    assert "MCDROP_ENGINE" in lacking(CPU)


@pytest.mark.parametrize("units", [1, 31, 64])
@pytest.mark.parametrize("seed", [0, 2**63 + 9])
def test_own_masks_drawn_on_a_device_are_plain_masks(seed, units):
    args = seed, 2, range(3, 8), units, 0.3, range(4, 11)
    assert (own_masks(*args, CPU).numpy() == plain_masks(*args)).all()


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Kernels as they would be launched on an H100: compiled, and not launched."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget

    from mcdrop.engine import triton_kernel

    class Driver:
        def get_current_device(self):
            return 0

        def get_current_stream(self, device):
            return 0

        def get_current_target(self):
            return GPUTarget("cuda", 90, 32)

    kernels = []
    for kernel in (triton_kernel.evaluate, triton_kernel.finish):

        def run(*args, kernel_run=kernel.run, warmup, **rest):
            kernels.append(kernel_run(*args, warmup=True, **rest))

        monkeypatch.setattr(kernel, "run", run)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton.runtime.driver, "_active", Driver())
    yield kernels
    for kernel in (triton_kernel.evaluate, triton_kernel.finish):
        kernel.device_caches.clear()


@pytest.mark.parametrize(
    ("widths", "reduced", "masks"),
    [
        ((256, 128, 10), True, "shared"),
        ((256, 256, 10), True, "shared"),
        ((60, 64, 1), False, "shared"),
        ((256, 128, 10), True, "independent"),
    ],
)
def test_it_compiles_for_an_h100_and_fits_there(widths, reduced, masks, compiled):
    """Without a GPU: matrix instructions, and no more shared memory than there is."""
    layers = linear_layers(read_layout(mlp(widths, [0.5] * (len(widths) - 1))))
    assert fits(layers, reduced=reduced)
    temperature = None if widths[-1] == 1 else 1.0
    for seed, count in ((0, 16), (2**63 + 5, 1), (3, 37)):
        fused = Fused(layers, Masks(seed, masks), 40, reduced=reduced)
        with contextlib.suppress(FloatingPointError):  # of statistics that nobody wrote
            fused.predict(rows(count, widths[0]), temperature)
    with contextlib.suppress(FloatingPointError):  # rows that begin anywhere
        fused.predict(rows(9, widths[0]).flatten()[1 : 1 + 8 * widths[0]].view(8, -1), temperature)
    evaluate, finish = compiled[:2]
    assert "wgmma.mma_async" in evaluate.asm["ptx"]
    assert evaluate.metadata.shared <= 227 << 10
    assert finish.metadata.shared <= 48 << 10
    # any seed, and any number of rows, is served by the same programs
    assert {kernel.hash for kernel in compiled} == {evaluate.hash, finish.hash}


@pytest.mark.parametrize("rates", [(0.0, 0.3, 0.5), (0.5, 0.6, 0.1)])
@pytest.mark.parametrize("count", [1, 16, 37])
def test_products_padded_for_a_gpu_give_the_same(rates, count, monkeypatch):
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    network, x = mlp((20, 48, 33, 5), rates), rows(count, 20)
    want = Posterior(network, 70, precision="float32").predict(x)
    monkeypatch.setattr("mcdrop.engine.thin.aligned", lambda device: 16)
    for module in ("mcdrop.engine", "mcdrop.engine.thin", "mcdrop.engine.dense"):
        monkeypatch.setattr(f"{module}.room", lambda device: 16)
    posterior = Posterior(network, 70, precision="float32")
    monkeypatch.setattr(posterior._passes.engine, "_prefers_dense", lambda rows: False)
    got = posterior.predict(x)
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.epistemic, want.epistemic, rtol=1e-4, atol=1e-6)
    assert got.mean.shape == (count, 5)


@GPU
@pytest.mark.gpu
def test_on_a_gpu():
    check({"MCDROP_TEST_DEVICE": "cuda", "MCDROP_ENGINE": "triton"})


@GPU
@pytest.mark.gpu
@pytest.mark.parametrize("count", [1, 4096])
def test_a_gpu_is_faster_with_it_than_with_the_plain_loop(count):
    network, x = mlp(*NETWORK).cuda(), rows(count, 784).cuda()
    posterior = Posterior(network)
    assert posterior.engine == "triton"

    def loop():
        network.train()
        with torch.inference_mode():
            return torch.stack([network(x).softmax(1) for _ in range(100)]).mean(0).cpu()

    times = []
    for case in (loop, lambda: posterior.predict(x)):
        case()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(5):
            case()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    assert times[1] < times[0] / 4


@GPU
@pytest.mark.gpu
@pytest.mark.parametrize("widths", [(784, 256, 128, 10), (784, 1024, 1024, 10)])
def test_a_gpus_memory_does_not_grow_with_rows_times_passes(widths):
    posterior = Posterior(mlp(widths, [0.0, 0.5, 0.5]).cuda(), 1000)
    x = rows(1 << 15, 784)
    posterior.predict(x[:4096])
    torch.cuda.reset_peak_memory_stats()
    posterior.predict(x)
    # all passes of all rows would be 1.3 GB of outputs, and 17 GB of activations at least
    assert torch.cuda.max_memory_allocated() < 4 << 30
