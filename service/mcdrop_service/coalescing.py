"""How much to evaluate at a time.

Knows numbers of rows. Refuses to know what rows are.
"""

__all__ = ["budget"]

# Either takes a tenth of a second of one core, or less.
_MACS = 20_000_000_000  # rows times samples times weights
_PASSES = 1_000_000  # rows times samples, of however small a network
_ROWS = 1024  # beyond it, an evaluation of more rows is no cheaper a row


def budget(samples: int, weights: int) -> int:
    """Rows to evaluate at once: few enough that nobody else waits for long."""
    return max(1, min(_ROWS, _MACS // (samples * weights), _PASSES // samples))
