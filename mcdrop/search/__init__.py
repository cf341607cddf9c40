"""Hyperparameter search; see `search`. Needs the extra ``search`` (Optuna)."""

from mcdrop.search.ranges import RANGES, Range, parse_ranges
from mcdrop.search.study import Trial, search
from mcdrop.search.toml import to_toml

__all__ = ["RANGES", "Range", "Trial", "parse_ranges", "search", "to_toml"]
