"""Passes of a classification whose true probabilities are known."""

import numpy as np

T, C = 20, 4


def classify(seed: int, rows: int, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Passes (T, B, C) of a model whose logits are ``1 / temperature`` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(1, rows, C)) * 2 + rng.normal(size=(T, rows, C))
    truth = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    y = (truth.mean(0).cumsum(1) > rng.random((rows, 1))).argmax(1)
    claimed = np.exp(logits / temperature)
    return claimed / claimed.sum(2, keepdims=True), y
