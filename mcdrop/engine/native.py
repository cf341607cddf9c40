"""The native kernel: passes to sums in one call, where the package was built with a compiler.

Knows the arguments of ``kernel.cpp`` and which build of it this processor can run. Refuses to know
seeds and statistics. Nothing is compiled here; without a library, on another processor, or with
``MCDROP_ENGINE=torch`` in the environment, `library` is None and the other ways serve.
"""

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcdrop.engine.layers import Layer
from mcdrop.engine.sums import Sums
from mcdrop.engine.tally import Center
from mcdrop.engine.thin import Mask

__all__ = ["NativePlan", "library", "suits"]

# Builds of the kernel, best first, and what they need of a processor.
BUILDS: dict[str, tuple[str, ...]] = {
    "avx512bf16": ("avx512_f", "avx512_bf16"),
    "avx512": ("avx512_f",),
    "avx2": ("avx2", "fma3"),
}

_LN2 = float(np.log(2.0))
_ROWS = 256  # rows a thread must have to be worth starting
_DEEPEST = 64  # layers


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("inputs", "outputs")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "units", "starts", "packed")),
        ("relu", ctypes.c_int64),
    )


class _Network(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("depth", "passes", "reduced")),
        ("layers", ctypes.POINTER(_Layer)),
    )


class _Rows(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "stride")),
        *((name, ctypes.c_void_p) for name in ("hidden", "base", "value", "bits")),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_int64) for name in ("first", "group")),
        *((name, ctypes.c_void_p) for name in ("deviation", "square", "divergence")),
    )


def library() -> ctypes.CDLL | None:
    """The best build of the kernel that this processor runs; None where there is none."""
    return None if os.environ.get("MCDROP_ENGINE") == "torch" else _load()


@functools.cache
def _load() -> ctypes.CDLL | None:
    features = torch.cpu.get_capabilities()
    for name, needs in BUILDS.items():
        path = Path(__file__).with_name(f"kernel_{name}.so")
        if all(features.get(need) for need in needs) and path.exists():
            try:
                return ctypes.CDLL(str(path))
            except OSError:  # built for another system
                continue
    return None


def suits(layers: Sequence[Layer], *, reduced: bool) -> bool:
    """Whether the kernel is there and can evaluate these layers; ``reduced`` means bfloat16."""
    kernel = library()
    if kernel is None or len(layers) > _DEEPEST:
        return False
    if reduced and (torch.cpu.get_capabilities().get("amx_bf16") or not kernel.mcdrop_reduced()):
        return False  # matrix units are torch's affair
    weight, final = layers[0].weight, layers[-1].activation
    return (
        weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and final is None
        and all(layer.activation is None or type(layer.activation) is nn.ReLU for layer in layers)
    )


class NativePlan:
    """Some thinned networks, packed in the order in which the kernel reads them.

    As in `thin`, a first layer that drops less than half of its inputs is computed once with
    nothing dropped, and of each pass only what the dropped units would have contributed.

    Args:
        layers: the network after its trunk; `suits` holds.
        masks: for each layer (T, I), or None where nothing is dropped.
        samples: T.
        reduced: whether products are of bfloat16.

    Raises:
        RuntimeError: there is no kernel.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        masks: Sequence[Mask | None],
        samples: int,
        *,
        reduced: bool,
    ) -> None:
        kernel = library()
        if kernel is None:
            raise RuntimeError("there is no native kernel here: ask `suits` first")
        self._kernel, self._layers = kernel, layers
        self._taken_away = layers[0].rate < 0.5
        entering = [
            np.ones((samples, layer.weight.shape[1]), np.bool_) if mask is None else mask
            for layer, mask in zip(layers, masks, strict=True)
        ]
        leaving = [*(mask.sum(axis=1) for mask in entering[1:]), np.int64(len(layers[-1].bias))]
        scales = [1.0 / (1.0 - layer.rate) for layer in layers]
        if self._taken_away:
            entering[0], scales[0] = ~entering[0], -scales[0]
        weights = [
            np.ascontiguousarray((layer.weight * scale).numpy())
            for layer, scale in zip(layers, scales, strict=True)
        ]
        self._held: list[NDArray[np.generic]] = []  # what the structures point at
        parts = (_Layer * len(layers))()
        for j, layer in enumerate(layers):
            counts = entering[j].sum(axis=1)
            words = (counts + 1) // 2 if reduced else counts
            arrays = (
                np.ascontiguousarray(layer.bias.numpy()),
                np.nonzero(entering[j])[1].astype(np.int32),
                np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
                np.empty(int((words * leaving[j]).sum()), np.uint32),
            )
            self._held += arrays
            outputs, inputs = weights[j].shape
            places = (array.ctypes.data for array in (weights[j], *arrays))
            parts[j] = _Layer(inputs, outputs, *places, layer.activation is not None)
        self._network = _Network(len(layers), samples, reduced, parts)
        kernel.mcdrop_pack(ctypes.byref(self._network))

    def add(self, hidden: Tensor, linear: Tensor, center: Center, first: int, sums: Sums) -> None:
        """Evaluate all passes and add them to sums.

        Args:
            hidden: (B, I), what the trunk made of the rows.
            linear: (B, O), the first layer without its bias.
            center: of B rows, what deviations are taken from.
            first: place of the first pass among those of ``sums``.
            sums: where to add, in place.

        Raises:
            MemoryError: there is no room for the activations of some hundred rows.
        """
        layer = self._layers[0]
        base = linear / (1.0 - layer.rate) + layer.bias if self._taken_away else None
        held = (
            hidden.contiguous(),
            base,
            center.value.contiguous(),
            None if center.log is None else center.log.contiguous() / _LN2,
        )
        features = (*hidden.shape[1:], *linear.shape[1:], 1, 1)
        arrays = (sums.deviation, sums.square, sums.divergence)

        def run(span: range) -> int:
            rows = _Rows(
                len(span),
                len(hidden),
                *(
                    None if tensor is None else tensor.data_ptr() + 4 * count * span.start
                    for tensor, count in zip(held, features, strict=True)
                ),
                1.0 / (_LN2 * center.temperature),
                first,
                sums.size,
                *(array.ctypes.data + 8 * span.start for array in arrays),
            )
            code: int = self._kernel.mcdrop_run(ctypes.byref(self._network), ctypes.byref(rows))
            return code

        if any(_spread(run, len(hidden))):
            raise MemoryError("no room for the activations of some hundred rows")


def _spread(run: Callable[[range], int], rows: int) -> list[int]:
    """Share rows out over as many threads as PyTorch is set to use."""
    threads = min(torch.get_num_threads(), rows // _ROWS)
    if threads <= 1:
        return [run(range(rows))]
    size = -(-rows // threads)
    spans = [range(start, min(start + size, rows)) for start in range(0, rows, size)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, spans))
