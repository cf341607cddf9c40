"""Exactly once: whatever kills a scoring, the same call goes on and ends with the same bytes."""
