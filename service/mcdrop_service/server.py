"""Running the service: processes, signals, the port.

Knows LitServe's processes and how they are made to stop. Refuses to know what they serve.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import litserve as ls  # type: ignore[import-untyped]
from fastapi import Depends, FastAPI

import mcdrop
from mcdrop.errors import RepositoryError
from mcdrop.repository import ModelEntry, list_models
from mcdrop_service import faults, logs, metrics, playground, scratch
from mcdrop_service.application import PredictAPI, list_versions
from mcdrop_service.backend import Backend
from mcdrop_service.documentation import describe
from mcdrop_service.equipment import equip, observers_of, preparer_of
from mcdrop_service.gate import Gate
from mcdrop_service.intake import Intake
from mcdrop_service.lane import protocol_of
from mcdrop_service.lifeline import end_with_parent
from mcdrop_service.limits import SETTLE
from mcdrop_service.pulse import Patrol, Pulse
from mcdrop_service.schemas import ModelList
from mcdrop_service.served import served
from mcdrop_service.settings import Settings, read_settings
from mcdrop_service.spans import TracedBackend

__all__ = ["Server", "build", "serve"]

_log = logging.getLogger(__name__)
_SETTLED = 5.0  # seconds within which API processes, started after the workers, are there
_STORM, _PAUSE = 60.0, 10.0  # seconds: five workers within the first, and a pause is made


class Server(ls.LitServer):  # type: ignore[misc]
    """LitServe's server, where a worker that dies is replaced, unless the server is stopping."""

    def __init__(self, api: PredictAPI, backend: Backend, patrol: Patrol, workers: int) -> None:
        super().__init__(
            api,
            accelerator="cpu",  # where a predictor computes
            workers_per_device=workers,
            timeout=False,  # the backend keeps deadlines
            restart_workers=True,
            model_metadata={"server": "mcdrop", "version": mcdrop.__version__},
        )
        self.backend, self.patrol = backend, patrol
        self.monitor_internal = 0.5  # seconds between looks at the workers
        self.stopping = False
        self.died = ""  # what ended, though nobody asked it to
        self._starts: deque[float] = deque(maxlen=5)  # of workers that replaced others
        self.protocol: type[asyncio.Protocol] | str = "auto"  # of connections, for uvicorn
        self.greeting = ""  # said when every worker is ready

    def verify_worker_status(self) -> None:
        """Wait for every worker's setup; LitServe waits for one, and for ever if that one dies."""
        while not all(state == "ready" for state in self.workers_setup_status.values()):
            if not all(worker.is_alive() for worker in self.inference_workers):
                raise RepositoryError("a worker could not be set up: see its message above")
            time.sleep(0.05)
        print(self.greeting, flush=True)
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def launch_inference_worker(self, lit_api: PredictAPI) -> Any:
        """Start the workers, deaf to Ctrl-C from their first instruction: a drain needs them."""
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # child processes inherit it
        try:
            return super().launch_inference_worker(lit_api)
        finally:
            signal.signal(signal.SIGINT, handler)

    def launch_single_inference_worker(self, lit_api: PredictAPI, worker_id: int) -> Any:
        """Replace a worker that died; called by LitServe's monitoring thread."""
        self.patrol.forget(worker_id)  # first: it is dead, and does not hang
        now = time.monotonic()
        if len(self._starts) == self._starts.maxlen and now - self._starts[0] < _STORM:
            time.sleep(_PAUSE)  # they die as fast as they are started: leave the machine some air
        self._starts.append(now)
        if self.stopping:
            sys.exit()  # ends that thread only: it would revive what is being stopped
        metrics.RESTARTS.inc()
        return super().launch_single_inference_worker(lit_api, worker_id)

    def _watch(self) -> None:
        """Kill workers that hang; stop everything when an API process dies.

        Nobody would answer at the port any more.
        """
        seen: set[str] = set()
        settled = time.monotonic() + _SETTLED
        while not self.stopping:
            names = {process.name for process in multiprocessing.active_children()}
            there = {name for name in names if name.startswith("LitServer-")}
            # One that died before it was ever seen leaves none behind.
            if seen - there or (not there and time.monotonic() > settled):
                gone = min(seen - there, default="LitServer-0")
                self.died = f"API process {gone} ended: the server stops"
                os.kill(os.getpid(), signal.SIGTERM)
                return
            seen |= there
            for worker in self.patrol.look():
                _log.error("worker %d gives no sign of life: it is killed", worker)
                self.inference_workers[worker].kill()  # LitServe's monitoring replaces it
            time.sleep(0.1)


def build(settings: Settings, folder: Path) -> Server:
    """The server of a repository, not yet running; its workers' sockets will be in ``folder``."""
    repository, workers = settings.repository, settings.workers
    threads = max(1, _cores() // workers)
    kind = Backend if settings.tracing is None else TracedBackend
    backend = kind(folder, workers, pending=settings.pending)
    pulse = Pulse(workers)
    api = PredictAPI(
        repository,
        threads,
        folder,
        pulse,
        observers_of(settings, folder),
        settings.pin,
        preparer_of(settings),
        settings.rows,
        settings.log,
    )
    server = Server(api, backend, Patrol(pulse, settings.patience), workers)
    server.uvicorn_graceful_timeout = settings.drain
    app: FastAPI = server.app
    app.title = "mcdrop"
    faults.install(app)

    playground.install(app, repository)

    @app.get("/models", dependencies=[Depends(server.setup_auth())])
    async def models() -> ModelList:
        return await asyncio.to_thread(list_versions, repository, await served(backend))

    intake = Intake(settings.deadline, settings.body_bytes)
    app.add_middleware(Gate, backend=backend, intake=intake)
    lane = equip(app, settings, backend, intake, folder)
    if lane is not None:
        server.protocol = protocol_of(lane)
    app.openapi = lambda: describe(app, repository, settings.rows)  # type: ignore[method-assign]
    return server


def serve(repository: Path | None = None, *, config: Path | None = None, **flags: Any) -> None:
    """Serve a repository over HTTP until SIGINT or SIGTERM; requests in flight are finished.

    Args:
        repository: the model repository; models added later are found when they are asked for.
        config: a TOML file of settings.
        flags: settings by name, those of `mcdrop_service.settings.Settings`; None for those not
            given. They beat the environment (``MCDROP_*``), and that beats the file.

    Raises:
        InputError: a setting is wrong; the message says where it came from.
        RepositoryError: the repository holds no model, or none that can be loaded.
        SystemExit: with a message, where the server ended though nobody stopped it.
    """
    settings = read_settings(config, repository=repository, **flags)
    repository = settings.repository.resolve()
    settings = settings.model_copy(update={"repository": repository})
    models = list_models(repository)
    if not models:
        raise RepositoryError(f"no trained model in {repository}: try `mcdrop train digits` first")
    scratch.remove_orphans()
    with scratch.temporary() as folder:  # a wrong key or file stops the start, and leaves nothing
        _run(settings, folder, greeting(settings, models))


def greeting(settings: Settings, models: Sequence[ModelEntry]) -> str:
    """What a server says when it starts, with versions that settings name and nobody trained."""
    url = f"http://127.0.0.1:{settings.port}"
    versions = {entry.name: entry.versions for entry in models}
    absent = [
        f"{setting}.{name}={version}"
        for setting, named in (("pin", settings.pin), ("shadow", settings.shadow))
        for name, version in named.items()
        if version not in versions.get(name, ())
    ]
    told = [
        f"settings: {settings.describe()}",
        *([f"no such version yet: {', '.join(absent)}"] if absent else []),
        f"serving {', '.join(versions)} on {url} (API: {url}/docs); Ctrl-C stops",
    ]
    return "\n".join(told)


def _run(settings: Settings, folder: Path, told: str) -> None:
    server = build(settings, folder)
    logs.configure(settings.log)
    _stop_on_signals(server)
    # LitServe's own watch over workers stumbles when the server stops beneath it.
    logging.getLogger("litserve.server").addFilter(lambda _record: not server.stopping)
    os.register_at_fork(after_in_child=end_with_parent)  # API processes, the queues' manager
    gc.freeze()  # what they share from here on is not theirs to collect: a look at it copies it
    server.greeting = told
    try:
        server.run(
            host="127.0.0.1" if settings.host == "localhost" else settings.host,
            port=settings.port,
            log_level="warning",
            log_config=None,
            generate_client_file=False,
            access_log=False,
            server_header=False,
            http=server.protocol,
        )
    except KeyboardInterrupt:
        pass  # asked to stop while starting
    finally:
        for process in multiprocessing.active_children():  # none, unless stopped while starting
            process.kill()
    if server.died:
        sys.exit(server.died)


def _stop_on_signals(server: Server) -> None:
    """Let SIGTERM stop the server as Ctrl-C does, once, and in the main process only."""
    main = os.getpid()

    def stop(_signum: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one would leave processes
        if os.getpid() == main:  # forked API processes inherit this handler, and drain by uvicorn's
            server.stopping = True
            server.backend.drain()
            time.sleep(SETTLE)  # whoever asks whether we are ready hears no, before we hang up
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
