"""Batches of shuffled rows on the device that trains.

Knows where rows lie and how many fit. Refuses to know what is done with a batch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["Feed"]

_SHARE = 0.5  # of the device's free memory: the rest is for weights, activations and the caller
_CHUNK = 256 * 2**20  # bytes sent at a time where rows do not fit


class Feed:
    """Rows (N, D) and their truth, a batch at a time.

    Rows live on the device, so that a batch is an index away; where they would fill more than half
    of its free memory, they stay in host memory and come in chunks of whole batches. Batches are
    the same either way.

    Args:
        x: (N, D) rows in host memory.
        y: (N,) or (N, C) truth.
        device: where batches are wanted.
        batch_size: rows of a batch; the last one of an epoch may have fewer.
    """

    def __init__(self, x: Tensor, y: Tensor, device: torch.device, batch_size: int) -> None:
        self.device, self.batch_size = device, batch_size
        size = x.nbytes + y.nbytes
        self.resident = _fits(size, device)
        self.x, self.y = (x.to(device), y.to(device)) if self.resident else (x, y)
        batches = _CHUNK * len(x) // (size * batch_size)  # of a chunk
        self.chunk = len(x) if self.resident else max(1, batches) * batch_size

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows in ``order`` (N,), batch by batch."""
        for places in torch.split(order, self.chunk):
            if self.resident:
                for batch in torch.split(places.to(self.device), self.batch_size):
                    yield self.x.index_select(0, batch), self.y.index_select(0, batch)
            else:
                x, y = (self._send(part.index_select(0, places)) for part in (self.x, self.y))
                yield from zip(
                    torch.split(x, self.batch_size), torch.split(y, self.batch_size), strict=True
                )

    def _send(self, part: Tensor) -> Tensor:
        """Copy to the device; from pinned memory, while the device still works on what it has."""
        pinned = part.pin_memory() if self.device.type == "cuda" else part
        return pinned.to(self.device, non_blocking=True)


def _fits(size: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True  # the device's memory is the host's
    free, _ = torch.cuda.mem_get_info(device)
    return size <= _SHARE * free
