"""Numbers by name, nested: what ``metrics.json`` holds.

Knows that every number comes with its interval and its rows. Refuses to know what is measured.
"""

import math
from collections.abc import Mapping
from typing import Any

from mcdrop.metrics import Estimate

__all__ = ["Tree", "as_json"]

Tree = Mapping[str, Any]
"""Estimates, texts, plain numbers, lists of trees and further trees by name."""


def as_json(tree: Tree) -> dict[str, Any]:
    """The tree's values as plain JSON, and ``intervals`` of the same shape beside them.

    An interval is ``{"low", "high", "n"}``: 95 %, and the rows it was measured on. What is not a
    finite number is null.
    """
    return {**_values(tree), "intervals": _intervals(tree)}


def _values(node: Any) -> Any:
    if isinstance(node, Estimate):
        return _finite(node.value)
    if isinstance(node, Mapping):
        return {name: _values(child) for name, child in node.items()}
    if isinstance(node, list | tuple):
        return [_values(child) for child in node]
    return _finite(node) if isinstance(node, float) else node


def _intervals(node: Any) -> Any:
    """The intervals of a tree; empty where there are none."""
    if isinstance(node, Estimate):
        return {"low": _finite(node.low), "high": _finite(node.high), "n": node.n}
    if isinstance(node, Mapping):
        found = {name: _intervals(child) for name, child in node.items()}
        return {name: child for name, child in found.items() if child}
    if isinstance(node, list | tuple):
        children = [_intervals(child) for child in node]
        return children if any(children) else []
    return {}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
