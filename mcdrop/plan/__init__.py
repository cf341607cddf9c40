"""A dropout network taken apart: a trunk that runs once, then stages that each pass runs.

    modules  which can be seen through, and networks as a row of them
    layout   trunk and stages
    trunk    unknown modules before the first dropout, tried
    stamp    whether a network is still what it was

Knows which modules are deterministic in eval form and which drop units. Refuses to know seeds,
masks and statistics. A module whose randomness cannot be seen is refused by name; before the first
dropout any module will do that draws no random numbers when it is tried in train mode.
"""

from mcdrop.plan.layout import Layout, Stage, read_layout
from mcdrop.plan.modules import ELEMENTWISE, SEEN, known, leaves, sequence
from mcdrop.plan.stamp import Stamp
from mcdrop.plan.trunk import try_trunk

__all__ = [
    "ELEMENTWISE",
    "SEEN",
    "Layout",
    "Stage",
    "Stamp",
    "known",
    "leaves",
    "read_layout",
    "sequence",
    "try_trunk",
]
