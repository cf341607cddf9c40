"""The kernel for processors that this machine is not: what is built there, and whether it agrees.

The build for aarch64 is made by a cross compiler and run by an emulator; how to get both is in
CONTRIBUTING.md. Without them these tests are skipped.
"""

import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from mcdrop.engine import kernel, packing
from mcdrop.masks import plain_masks
from mcdrop.posterior import Posterior
from tests.conftest import ROOT
from tests.emulated import COMPILER, Emulated, missing, program
from tests.oracle import mlp, rows
from tests.test_native import SHAPES, assert_same, numbers

tools = pytest.mark.skipif(bool(missing()), reason=f"not installed: {' and '.join(missing())}")


def hook() -> ModuleType:
    """``hatch_build.py``, where its build backend need not be installed."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        backend = SimpleNamespace(BuildHookInterface=object)
        patch.setitem(sys.modules, "hatchling.builders.hooks.plugin.interface", backend)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("emulated"), hook())


@pytest.fixture
def neon(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """The emulated kernel in place of this machine's own."""
    with Emulated(path) as library:
        monkeypatch.setattr(kernel, "_load", lambda: (library, "neon"))
        monkeypatch.setattr(packing, "_address", library.place)
        yield library


def by_torch(monkeypatch: pytest.MonkeyPatch, *args: object, **settings: object) -> Posterior:
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    posterior = Posterior(*args, **settings)
    monkeypatch.delenv("MCDROP_ENGINE")
    return posterior


@tools
@pytest.mark.parametrize("shape", SHAPES)
def test_neon_is_what_torch_says(shape, neon, monkeypatch):
    """By both ways of the kernel, and with masks of rows' own."""
    for settings in ({}, {"masks": "independent"}):
        settings |= {"precision": "float32", "seed": 2**63 + 5, "temperature": 1.5}
        if shape[0][-1] == 1:
            del settings["temperature"]
        ours = Posterior(mlp(*shape), 40, **settings)
        other = by_torch(monkeypatch, mlp(*shape), 40, **settings)
        assert (ours.engine, other.engine) == ("native", "torch")
        for few in (0, 100):
            ours._passes.engine.native._few = few
            for count in (1, 5, 13, 50):
                x = rows(count, shape[0][0])
                assert_same(ours.predict(x), other.predict(x), rtol=1e-5, atol=4e-6)


@tools
def test_neon_gives_a_row_the_same_bits_in_any_company(neon):
    posterior = Posterior(mlp(*SHAPES[0]), 50, precision="float32")
    x = rows(60, 20)
    whole = numbers(posterior, x)
    for places in ([3], range(5, 12), range(20, 37)):
        assert np.array_equal(numbers(posterior, x[list(places)]), whole[list(places)])
    posterior._passes.engine.native._few = 100
    assert np.array_equal(numbers(posterior, x), whole)


@tools
@pytest.mark.parametrize("units", [1, 31, 64, 200])
def test_neon_draws_the_bits_of_plain_masks(units, neon):
    words = np.empty((7, 5, -(-units // 64)), np.uint64)
    least = round(0.3 * 2**32)
    neon.mcdrop_draw(2**63 + 9, 2, 4, 7, 3, 5, units, least, 0, words.ctypes.data)
    bits = np.unpackbits(words.view(np.uint8), axis=2, bitorder="little")[..., :units]
    want = plain_masks(2**63 + 9, 2, range(3, 8), units, 0.3, range(4, 11))  # (T, B, units)
    assert np.array_equal(bits.astype(bool), want.transpose(1, 0, 2))


def compiled(machine: str, compiler: str | None, folder: Path, monkeypatch) -> list[str]:
    """Names of what the wheel would hold on another machine."""
    shutil.copy(Path(kernel.__file__).with_name("kernel.cpp"), folder)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    which: Callable[[str], str | None] = lambda _: compiler  # noqa: E731
    monkeypatch.setattr(shutil, "which", which)
    return [path.name for path in hook().build(folder)]


@tools
def test_the_wheel_of_an_arm_machine_holds_neon(tmp_path, monkeypatch):
    compiler = shutil.which(COMPILER)
    assert compiled("arm64", compiler, tmp_path, monkeypatch) == ["kernel_neon.so"]
    assert (tmp_path / "kernel_neon.so").read_bytes()[18:20] == b"\xb7\x00"  # ELF for aarch64


@pytest.mark.parametrize("machine", ["riscv64", "ppc64le"])
def test_nothing_is_compiled_for_processors_without_a_build(machine, tmp_path, monkeypatch):
    assert compiled(machine, shutil.which("c++"), tmp_path, monkeypatch) == []


def test_a_compiler_that_fails_leaves_a_wheel_without_kernels(tmp_path, monkeypatch):
    assert compiled("aarch64", shutil.which("false"), tmp_path, monkeypatch) == []
    assert compiled("aarch64", None, tmp_path, monkeypatch) == []


@pytest.mark.parametrize(
    ("features", "want"),
    [
        ({"architecture": "arm64", "neon": True, "bf16": True}, "none; neon: not built"),
        ({"architecture": "riscv64"}, "none; no build for such a processor"),
        ({"avx2": True, "fma3": False}, "none; avx2: the processor lacks fma3"),
    ],
)
def test_the_reason_speaks_of_builds_for_this_family(features, want, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "__file__", str(tmp_path / "kernel.py"))  # nothing was built
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    library, reason = kernel._load.__wrapped__()
    assert library is None
    assert reason.startswith(want)
