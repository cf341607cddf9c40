"""Small chunks."""

import pytest


@pytest.fixture
def small(monkeypatch):
    """Chunks of six rows, in blocks of three, so that small files have many."""
    for module in ("rows", "batches", "arrays", "text", "pictures", "sources"):
        for name, size in (("BLOCK", 3), ("CHUNK", 6)):
            monkeypatch.setattr(f"mcdrop.scoring.{module}.{name}", size, raising=False)
