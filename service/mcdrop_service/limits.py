"""What one request, and one server, may use: the bounds that keep every caller's share.

Knows numbers and why they are what they are. Refuses to know what enforces them.
"""

__all__ = [
    "ALL_PIXELS",
    "BODY_BYTES",
    "DEADLINE",
    "DRAIN",
    "EVALUATIONS",
    "HELD_BYTES",
    "HELD_NETWORKS",
    "IMAGE_BYTES",
    "INLINE_BYTES",
    "MOST_ROWS",
    "PASSES",
    "PATIENCE",
    "PENDING",
    "PIXELS",
    "PREDICTORS",
    "ROWS",
    "SEED",
    "SETTLE",
    "WORK",
]

BODY_BYTES = 16 * 2**20
"""Bytes of a request's body; 1,000 rows of 784 numbers in full precision fill it."""

ROWS = 4096
"""Rows of a request."""

MOST_ROWS = 65_536
"""What the setting for them may be at most; beyond it, rows are scored from a file."""

EVALUATIONS = 1_000_000
"""Rows times samples of a request, of a small network."""

WORK = 200_000_000_000
"""Rows times samples times weights of a request: some seconds of one core for a large network."""

SEED = 2**63 - 1
"""Greatest seed."""

INLINE_BYTES = 64 * 2**10
"""Bytes of a body that an API process may read on its event loop: a millisecond."""

PASSES = 1_000_000
"""Numbers of single passes in an answer: rows times samples times outputs."""

HELD_NETWORKS = 2**30
"""Bytes of thinned networks that a worker keeps, of all models, samples and seeds together."""

IMAGE_BYTES = 4 * 2**20
"""Bytes of an image that is sent as a file."""

PIXELS = 4_000_000
"""Pixels of an image that is sent as a file."""

ALL_PIXELS = 32_000_000
"""Pixels of all images of a request: a second of one core at most."""

PENDING = 512
"""Requests an API process takes on at a time; further ones are asked to come back."""

HELD_BYTES = 256 * 2**20
"""Bytes of bodies that an API process holds at a time."""

DEADLINE = 30.0
"""Seconds from a request's arrival to its answer."""

DRAIN = 8
"""Seconds that requests in flight get when the server stops; Docker kills after 10."""

SETTLE = 0.5
"""Seconds that a server which is about to stop says so, and still answers."""

PATIENCE = 20.0
"""Seconds that a worker may give no sign of life; an evaluation takes some of them at most, and
what the worker held can be answered by another before its deadline."""

PREDICTORS = 32
"""Model versions a worker keeps loaded."""
