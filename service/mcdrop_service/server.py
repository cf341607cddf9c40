"""Running the service: processes, signals, the port.

Knows LitServe's processes and how they are made to stop. Refuses to know what they serve.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import litserve as ls  # type: ignore[import-untyped]
from fastapi import Depends, FastAPI

from mcdrop.errors import InputError, RepositoryError
from mcdrop.repository import list_models
from mcdrop_service import faults
from mcdrop_service.application import PredictAPI, list_versions
from mcdrop_service.backend import Backend
from mcdrop_service.documentation import describe
from mcdrop_service.gate import Gate
from mcdrop_service.lifeline import end_with_parent
from mcdrop_service.limits import DRAIN
from mcdrop_service.schemas import ModelList

__all__ = ["Server", "build", "serve"]

_HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - those LitServe takes


class Server(ls.LitServer):  # type: ignore[misc]
    """LitServe's server, where a worker that dies is replaced, unless the server is stopping."""

    def __init__(self, api: PredictAPI, backend: Backend, workers: int) -> None:
        super().__init__(
            api,
            accelerator="cpu",  # where a predictor computes
            workers_per_device=workers,
            timeout=False,  # the backend keeps deadlines
            restart_workers=True,
        )
        self.backend = backend
        self.uvicorn_graceful_timeout = DRAIN
        self.monitor_internal = 0.5  # seconds between looks at the workers
        self.stopping = False
        self.greeting = ""  # said when every worker is ready

    def verify_worker_status(self) -> None:
        """Wait for every worker's setup; LitServe waits for one, and for ever if that one dies."""
        while not all(state == "ready" for state in self.workers_setup_status.values()):
            if not all(worker.is_alive() for worker in self.inference_workers):
                raise RepositoryError("a worker could not be set up: see its message above")
            time.sleep(0.05)
        print(self.greeting, flush=True)

    def launch_inference_worker(self, lit_api: PredictAPI) -> Any:
        """Start the workers, deaf to Ctrl-C from their first instruction: a drain needs them."""
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # child processes inherit it
        try:
            return super().launch_inference_worker(lit_api)
        finally:
            signal.signal(signal.SIGINT, handler)

    def launch_single_inference_worker(self, lit_api: PredictAPI, worker_id: int) -> Any:
        """Replace a worker that died; called by LitServe's monitoring thread."""
        if self.stopping:
            sys.exit()  # ends that thread only: it would revive what is being stopped
        return super().launch_single_inference_worker(lit_api, worker_id)


def build(repository: Path, folder: Path, workers: int = 1) -> Server:
    """The server of a repository, not yet running; its workers' sockets will be in ``folder``."""
    threads = max(1, _cores() // workers)
    backend = Backend(folder, workers)
    server = Server(PredictAPI(repository, threads, folder), backend, workers)
    app: FastAPI = server.app
    faults.install(app)

    @app.get("/models", dependencies=[Depends(server.setup_auth())])
    def models() -> ModelList:
        return list_versions(repository)

    app.add_middleware(Gate, backend=backend)
    app.openapi = lambda: describe(app, repository)  # type: ignore[method-assign]
    return server


def serve(repository: Path, *, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> None:
    """Serve ``repository`` over HTTP until SIGINT or SIGTERM; requests in flight are finished.

    Args:
        repository: the model repository; models added later are found when they are asked for.
        host: address to bind: 127.0.0.1, 0.0.0.0 or ::.
        port: port to bind, 1024 to 65535.
        workers: inference processes.

    Raises:
        InputError: host or port cannot be bound by LitServe.
        RepositoryError: the repository holds no model, or none that can be loaded.
    """
    repository = repository.resolve()
    host = "127.0.0.1" if host == "localhost" else host
    if host not in _HOSTS:
        raise InputError(f"got host {host!r}, wanted one of {', '.join(_HOSTS)}")
    if not 1024 <= port <= 65535:
        raise InputError(f"got port {port}, wanted 1024 to 65535")
    names = [entry.name for entry in list_models(repository)]
    if not names:
        raise RepositoryError(f"no trained model in {repository}: try `mcdrop train digits` first")
    folder = Path(tempfile.mkdtemp(prefix="mcdrop-"))  # readable by this user only
    server = build(repository, folder, workers)
    _stop_on_signals(server)
    os.register_at_fork(after_in_child=end_with_parent)  # API processes, the queues' manager
    url = f"http://127.0.0.1:{port}"
    server.greeting = f"serving {', '.join(names)} on {url} (API: {url}/docs); Ctrl-C stops"
    try:
        server.run(
            host=host,
            port=port,
            log_level="warning",
            generate_client_file=False,
            access_log=False,
        )
    except KeyboardInterrupt:
        pass  # asked to stop while starting
    finally:
        for process in multiprocessing.active_children():  # none, unless stopped while starting
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _stop_on_signals(server: Server) -> None:
    """Let SIGTERM stop the server as Ctrl-C does, once, and in the main process only."""
    main = os.getpid()

    def stop(_signum: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one would leave processes
        if os.getpid() == main:  # forked API processes inherit this handler, and drain by uvicorn's
            server.stopping = True
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
