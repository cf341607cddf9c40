"""Rows of people of whom something is unknown, and a table to learn from."""

from typing import Any

import numpy as np
import pyarrow as pa

from mcdrop.data.preprocessing import Inputs

STRANGE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "known": ({"size": 1.0, "age": 30, "color": "red", "town": "Rome"}, []),
    "a gap that training had": ({"size": 1.0, "age": None, "color": "red", "town": "Rome"}, []),
    "one of many rare labels": ({"size": 1.0, "age": 30, "color": "red", "town": "Atlantis"}, []),
    "a gap it had not": ({"age": 30, "color": "red", "town": "Rome"}, ["size"]),
    "a label it had not": ({"size": 1.0, "age": 30, "color": "mauve", "town": "Rome"}, ["color"]),
    "a label missing": ({"size": 1.0, "age": 30, "color": "", "town": "Rome"}, ["color"]),
    "a number far outside": (
        {"size": 1.0, "age": 1e6, "color": "red", "town": "Rome"},
        ["age"],
    ),
    "both": ({"age": None, "color": "mauve", "town": "Rome"}, ["size", "color"]),
    "too many gaps": ({"size": 1.0, "color": "red"}, ["age", "town"]),
    "nothing at all": ({}, ["size", "age", "color", "town"]),
}
RECORDS = [record for record, _ in STRANGE.values()]
UNKNOWN = [columns for _, columns in STRANGE.values()]


def people(rows: int = 800) -> pa.Table:
    """Ages and towns have gaps, never both; towns are many, and most of them rare."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=rows)
    age: list[float | None] = [None if i % 10 == 0 else float(20 + i % 40) for i in range(rows)]
    town = [None if i % 10 == 5 else f"t{i}" if i % 3 == 0 else "Rome" for i in range(rows)]
    color = rng.choice(["red", "blue"], rows)
    y = np.where(size + (color == "red") > 0.5, "yes", "no")
    return pa.table({"size": size, "age": age, "color": color, "town": town, "y": y, "z": size})


def names(inputs: Inputs, columns: tuple[str, ...]) -> list[list[str]]:
    return [[columns[i] for i in np.flatnonzero(row)] for row in inputs.unknown]
