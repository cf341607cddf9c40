"""The native kernel under AddressSanitizer and UBSan: odd shapes, both ways, own masks.

The kernel is compiled once more with both sanitizers, and called from Python in a process that
has their runtime loaded first; the first bad access or undefined operation ends it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcdrop.engine import kernel

ROOT = Path(__file__).parent.parent
COMPILER = shutil.which("g++")
FLAGS = (
    *("-std=c++17", "-O1", "-shared", "-fPIC", "-fno-exceptions", "-fno-rtti"),
    *("-ffp-contract=fast", "-Wno-psabi"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)
TARGETS = {  # best first; the processor's best one is tested
    "avx512bf16": ("-mavx512f", "-mavx512bf16", "-mfma"),
    "avx512": ("-mavx512f", "-mfma"),
    "avx2": ("-mavx2", "-mfma"),
    "neon": (),
}

SCRIPT = """
import ctypes, sys
import numpy as np
import torch
from mcdrop.engine import kernel
library = kernel._declared(ctypes.CDLL(sys.argv[1]))
kernel._load = lambda: (library, "sanitized")
from mcdrop.posterior import Posterior
from tests.oracle import mlp, rows
torch.set_num_threads(1)
SHAPES = [
    ((20, 48, 33, 5), (0.0, 0.3, 0.5)), ((3, 1, 1, 2), (0.5, 0.5, 0.5)),
    ((13, 50, 1), (0.05, 0.05)), ((9, 300, 3), (0.6, 0.0)),
    ((5, 9, 70), (0.0, 0.2)), ((4, 6, 2), (1e-6, 0.999)),
    ((1, 33, 111, 99, 1), (0.0, 0.1, 0.1, 0.1)), ((9, 97, 111, 1), (0.6, 0.1, 0.1)),
]
for shape in SHAPES:
    for settings in ({}, {"precision": "float32"}, {"masks": "independent"}):
        posterior = Posterior(mlp(*shape), 37, **settings)
        if posterior.engine != "native":
            assert not library.mcdrop_reduced()  # left to torch where products are of bfloat16
            continue
        for few in (0, 1000):
            posterior._passes.engine.native._few = few
            for count in (0, 1, 2, 17, 33, 50, 70):
                x = torch.zeros(count * shape[0][0] + 1)[1:].view(count, shape[0][0])
                x.copy_(rows(count, shape[0][0]))
                answer = posterior.predict(x)
                assert np.isfinite(answer.mean).all()
            assert len(list(posterior.stream(x))) == 4
print("done")
"""


def runtime(name: str) -> str | None:
    """The path of a sanitizer's runtime, if the compiler has it."""
    if COMPILER is None:
        return None
    found = subprocess.run(
        [COMPILER, f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return str(Path(found).resolve()) if Path(found).is_absolute() else None


def test_no_bad_access_and_nothing_undefined(tmp_path: Path) -> None:
    preload = [runtime(f"lib{name}.so") for name in ("asan", "ubsan")]
    if COMPILER is None or None in preload:
        pytest.skip("no g++ with its sanitizers here")
    build = next((name for name in TARGETS if not kernel.lacking(name)), None)
    if build is None:
        pytest.skip("the processor runs no build")
    library, source = tmp_path / "kernel.so", Path(kernel.__file__).with_name("kernel.cpp")
    command = [COMPILER, *FLAGS, *TARGETS[build], str(source), "-o", str(library)]
    subprocess.run(command, check=True, timeout=400)
    environment = os.environ | {
        "LD_PRELOAD": " ".join(path for path in preload if path),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own would drown the kernel's
        "MCDROP_ENGINE": "",
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(library)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "done"
