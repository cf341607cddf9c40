"""`mcdrop info`: what a report of a problem, or of a speed, should say."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from rich.box import SIMPLE
from rich.table import Table

from mcdrop.cli.console import show
from mcdrop.later import staying

__all__ = ["info"]

_PACKAGES = ("mcdrop", "torch", "triton", "numpy", "litserve", "ray")
_FEATURES = ("avx2", "fma3", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16", "neon")


def info() -> None:
    """Say which versions, engine, kernel build, threads and processor features are at work."""
    with staying():
        import torch

        from mcdrop.engine.kernel import library, reason

    features = torch.cpu.get_capabilities()
    table = Table(box=SIMPLE, show_header=False, padding=(0, 1, 0, 0))
    table.add_row("python", platform.python_version())
    for name in _PACKAGES:
        table.add_row(name, _version(name))
    table.add_row("engine", "torch" if library() is None else "native")
    table.add_row("kernel", reason())
    table.add_row("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processors")
    table.add_row("processor", str(features.get("cpu_name", platform.machine())))
    table.add_row("features", " ".join(name for name in _FEATURES if features.get(name)))
    table.add_row("gpu", _gpu())
    show(table)


def _gpu() -> str:
    """Which GPU there is, and what computes on it, and why."""
    import torch

    from mcdrop.engine.chip import lacking

    if not torch.cuda.is_available():
        return "none"
    missing = lacking(torch.device("cuda"))
    engine = "engine triton" if missing is None else f"engine torch: {missing}"
    return f"{torch.cuda.get_device_name()}, {engine}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
