"""How a network is laid in tiles for a GPU: widths are padded, rows are taken by the program."""

from collections.abc import Sequence
from itertools import pairwise

from mcdrop.engine.layers import Layer

__all__ = ["ROWS", "padded_width", "padded_widths", "program_rows"]

ROWS = 64
"""Rows a program, at least."""


def padded_widths(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Widths of the layers' inputs, and of the outputs, padded."""
    return (
        *(padded_width(layer.weight.shape[1]) for layer in layers),
        padded_width(len(layers[-1].bias)),
    )


def program_rows(widths: Sequence[int]) -> int:
    """Rows a program: by the compiler's report, more spill less beside large weights."""
    return 2 * ROWS if max(a * b for a, b in pairwise(widths)) > 1 << 15 else ROWS


def padded_width(width: int) -> int:
    """The next power of two that matrix units take."""
    return max(16, 1 << (width - 1).bit_length())
