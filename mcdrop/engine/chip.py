"""What a GPU's kernels can be asked: whether they run on a device, and which networks fit on it."""

import functools
import importlib.util
import os
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mcdrop.engine.finish import finished
from mcdrop.engine.layers import Layer
from mcdrop.engine.tally import Center
from mcdrop.engine.tiles import padded_widths, program_rows

__all__ = ["fits", "lacking"]

_WIDEST = 256  # units of a layer: a block's activations lie in registers
_CHIP = 227 << 10  # bytes of shared memory where the device does not say: a Hopper's


def lacking(device: torch.device) -> str | None:
    """What the kernels lack to run on a device; None where nothing is.

    Under Triton's interpreter (``TRITON_INTERPRET=1`` and ``MCDROP_ENGINE=triton`` in the
    environment) they run on the processor, slowly: for tests.
    """
    wanted = os.environ.get("MCDROP_ENGINE")
    if wanted == "torch":
        return "MCDROP_ENGINE=torch in the environment"
    interpreted = wanted == "triton" and os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not interpreted:
        return f"a {device.type} device, not cuda"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return _failure(device)


@functools.cache
def _failure(device: torch.device) -> str | None:
    """Why the smallest of kernels cannot be compiled and launched on a device, if so."""
    try:
        one = torch.ones(1, 1, 1, device=device)
        finished(Center(one[0], None, 1.0), (one, one, one[0]), 1, 1)
    except Exception as error:  # no compiler, an old driver, a device that Triton does not know
        return f"{type(error).__name__}: {error}"
    return None


def fits(layers: Sequence[Layer], *, reduced: bool) -> bool:
    """Whether the kernel can evaluate these layers, with their weights in shared memory."""
    widths = padded_widths(layers)
    device = layers[0].weight.device
    chip = _CHIP
    if device.type == "cuda":
        chip = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
    weights = sum(a * b for a, b in pairwise(widths))
    # float32 products need two parts of each weight
    rows = program_rows(widths) * max(widths)
    shared = weights * (2 if reduced else 8) + rows * (2 if reduced else 4) + 4096
    plain = all(
        layer.weight.dtype == torch.float32
        and (layer.activation is None) == (layer is layers[-1])
        and (layer.activation is None or type(layer.activation) is nn.ReLU)
        for layer in layers
    )
    return plain and max(widths) <= _WIDEST and shared <= chip
