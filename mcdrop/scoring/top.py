"""The rows that stand highest by a column: of a chunk, and of all chunks so far."""

import numpy as np
import pyarrow as pa

__all__ = ["highest"]


def highest(table: pa.Table, count: int, by: str) -> pa.Table:
    """The ``count`` rows with the greatest ``by``, greatest first; of equals, the earlier."""
    order = np.argsort(-table[by].to_numpy(), kind="stable")[:count]
    return table.take(pa.array(order))
