"""The compiled kernel: which build of it this processor runs, and the arguments it takes.

Knows the structures of ``kernel.cpp`` and what its builds need. Refuses to know networks, seeds
and statistics. Nothing is compiled here; without a library, on another processor, or with
``MCDROP_ENGINE=torch`` in the environment, `library` is None and PyTorch serves.
"""

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "BUILDS",
    "DenseArgs",
    "LayerArgs",
    "NetworkArgs",
    "RowsArgs",
    "lacking",
    "library",
    "reason",
]

# Builds of the kernel, best first, and what they need of a processor.
BUILDS: dict[str, tuple[str, ...]] = {
    "avx512bf16": ("avx512_f", "avx512_bf16"),
    "avx512": ("avx512_f",),
    "avx2": ("avx2", "fma3"),
    "neon": ("neon",),
}


def _fields(**kinds: str) -> list[tuple[str, type]]:
    """Names of fields by their type, in the order given."""
    types = {"int": ctypes.c_int64, "at": ctypes.c_void_p, "float": ctypes.c_float}
    return [
        (name, types[kind.rstrip("0123456789")])
        for kind, names in kinds.items()
        for name in names.split()
    ]


class DenseArgs(ctypes.Structure):
    """``Dense``: a layer with nothing dropped."""

    _fields_ = _fields(int="inputs outputs", at="panels bias", int2="relu")


class LayerArgs(ctypes.Structure):
    """``Layer``: a layer that every pass computes."""

    _fields_ = _fields(
        int="inputs outputs", at="weight bias units starts packed columns bits", int2="relu"
    )


class NetworkArgs(ctypes.Structure):
    """``Network``: all layers."""

    _fields_ = _fields(
        int="trunk depth passes reduced taken", float="scale", at="dense layers lost"
    )
    held: list[Any]  # what it points at


class RowsArgs(ctypes.Structure):
    """``Rows``: rows of one call, and where its results go."""

    _fields_ = _fields(
        int="count place stride", at="input", int2="start alone own", float="scale",
        int3="begin end first group", at2="statistics deviation square divergence value log",
    )  # fmt: skip


def library() -> ctypes.CDLL | None:
    """The best build of the kernel that this processor runs; None where there is none."""
    return None if os.environ.get("MCDROP_ENGINE") == "torch" else _load()[0]


def reason() -> str:
    """Which build serves and why, or why none does."""
    if os.environ.get("MCDROP_ENGINE") == "torch":
        return "none: MCDROP_ENGINE=torch in the environment"
    return _load()[1]


def lacking(build: str) -> list[str]:
    """What a build needs and this processor has not."""
    features = torch.cpu.get_capabilities()
    return [need for need in BUILDS[build] if not features.get(need)]


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    passed_over, features = [], torch.cpu.get_capabilities()
    for name, needs in BUILDS.items():
        path = Path(__file__).with_name(f"kernel_{name}.so")
        if features.keys().isdisjoint(needs):
            continue  # of another family of processors
        if lacking(name):
            passed_over.append(f"{name}: the processor lacks {' and '.join(lacking(name))}")
        elif not path.exists():
            passed_over.append(f"{name}: not built, for want of a compiler that can")
        else:
            try:
                return _declared(ctypes.CDLL(str(path))), "; ".join([name, *passed_over])
            except OSError as error:  # built for another system
                passed_over.append(f"{name}: {error}")
    return None, "; ".join(["none", *(passed_over or ["no build for such a processor"])])


def _declared(kernel: ctypes.CDLL) -> ctypes.CDLL:
    kernel.mcdrop_run.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    kernel.mcdrop_draw.argtypes = (
        *(ctypes.c_uint64, ctypes.c_uint32),
        *(ctypes.c_int64,) * 5,
        *(ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p),
    )
    return kernel
