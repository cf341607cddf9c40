"""LitServe's loop of a worker process, ours: it listens on a Unix socket.

Knows the one hook by which LitServe runs a worker. LitServe's own queues stay empty.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from litserve.loops import LitLoop  # type: ignore[import-untyped]

from mcdrop_service.pulse import Pulse

if TYPE_CHECKING:
    from mcdrop_service.worker import Worker

__all__ = ["SocketLoop"]


class SocketLoop(LitLoop):  # type: ignore[misc]
    """Answers asks that come by ``FOLDER/WORKER.sock``, for as long as the process lives."""

    def __init__(self, folder: Path, pulse: Pulse) -> None:
        super().__init__()
        self.folder, self.pulse = folder, pulse

    def __call__(self, lit_api: Any, _device: str, worker_id: int, *_queues: Any) -> None:
        """Run in the worker process, after ``LitAPI.setup``."""
        factory = uvicorn.Config("").get_loop_factory()  # uvloop's, where there is one
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._live(lit_api.worker, worker_id))

    async def _live(self, worker: "Worker", worker_id: int) -> None:
        path = self.folder / f"{worker_id}.sock"
        await asyncio.gather(worker.serve(path), self.pulse.beat(worker_id))
