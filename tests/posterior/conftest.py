"""Small products on one thread."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
