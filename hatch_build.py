"""Compiles the native kernel into the wheel, where there is a compiler; else nothing is built.

One build for each kind of processor that has one (`BUILDS`), so that a wheel serves them all; the
engine chooses among them when it runs. A compiler that fails is no error: PyTorch serves then.
"""

import platform
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    *("-std=c++17", "-O3", "-shared", "-fPIC", "-fno-exceptions", "-fno-rtti"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-Wno-psabi"),
)
BUILDS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx512bf16": ("-mavx512f", "-mavx512bf16", "-mfma", "-mbmi2"),
        "avx512": ("-mavx512f", "-mfma", "-mbmi2"),
        "avx2": ("-mavx2", "-mfma"),
    },
    "aarch64": {"neon": ()},
}
NAMES = {"amd64": "x86_64", "arm64": "aarch64"}  # of other systems


def build(folder: Path, *extra: str) -> list[Path]:
    """Compile ``kernel.cpp`` in ``folder`` for all processors; the libraries that were built."""
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        return []
    machine = platform.machine().lower()
    builds = BUILDS.get(NAMES.get(machine, machine), {})

    def compiled(name: str) -> Path | None:
        library = folder / f"kernel_{name}.so"
        files = folder / "kernel.cpp", "-o", library
        command: list[str | Path] = [compiler, *FLAGS, *builds[name], *extra, *files]
        try:
            done = subprocess.run(command, capture_output=True, timeout=300, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return None
        return library if done.returncode == 0 else None

    with ThreadPoolExecutor() as pool:
        return [library for library in pool.map(compiled, builds) if library]


class KernelHook(BuildHookInterface):
    """Adds the libraries to the wheel and names its platform; they need no Python of their own."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Called before the files of a wheel are collected."""
        root = Path(self.root)
        built = build(root / "mcdrop" / "engine")
        if built:
            system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{system}"
            build_data["artifacts"] += [str(path.relative_to(root)) for path in built]
