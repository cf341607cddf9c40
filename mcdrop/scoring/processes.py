"""Several processes of this machine, each with the model, each given the next piece when it asks.

Knows processes and pipes. A process that is killed ends the scoring with an error; what was
committed stays. Refuses to know what a piece is made into.
"""

import multiprocessing
import os
from collections.abc import Iterator
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from mcdrop.errors import DataError, McdropError
from mcdrop.predictor import load
from mcdrop.scoring.journal import Record, keep
from mcdrop.scoring.scorer import Job, Scorer, Work

__all__ = ["in_processes"]

_AHEAD = 2  # pieces a worker holds, so that it reads one while it answers another


def in_processes(
    work: Iterator[Work], job: Job, model: Path, folder: Path, workers: int
) -> Iterator[Record]:
    """Make the parts of all pieces in ``workers`` processes; yields each part when it is kept."""
    context = multiprocessing.get_context("spawn")  # a fork would share locks of running threads
    threads = max(1, (os.cpu_count() or 1) // workers)
    connections: list[Connection] = []
    started = []
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, job, model, folder, threads), daemon=True
            )
            process.start()
            theirs.close()
            started.append(process)
            connections.append(ours)
        yield from _hand_out(work, connections)
    finally:
        for connection in connections:
            connection.close()
        for process in started:
            process.terminate()
            process.join()


def _hand_out(work: Iterator[Work], connections: list[Connection]) -> Iterator[Record]:
    """Keep every worker busy, and pass on what they tell."""
    missing: dict[Any, list[int]] = {connection: [] for connection in connections}  # of each piece
    while True:
        for connection, pieces in missing.items():
            for piece, skip in islice(work, max(0, _AHEAD - len(pieces))):
                connection.send((piece, skip))
                pieces.append(len(set(piece.chunks) - skip))
        busy = [connection for connection, pieces in missing.items() if pieces]
        if not busy:
            return
        for connection in wait(busy):
            record = _receive(connection)
            pieces = missing[connection]
            pieces[0] -= 1
            if not pieces[0]:
                pieces.pop(0)
            yield record


def _receive(connection: Any) -> Record:
    try:
        told = connection.recv()
    except (EOFError, OSError):
        raise DataError(
            "a worker process died (killed, or out of memory): the same command goes on from what "
            "is done; with fewer workers less memory is needed"
        ) from None
    if isinstance(told, Record):
        return told
    raise told


def _serve(connection: Connection, job: Job, model: Path, folder: Path, threads: int) -> None:
    """The worker's side."""
    torch.set_num_threads(threads)
    try:
        predictor = load(model)
        predictor.network.to(job.device)
        for part in Scorer(predictor, job).parts(_received(connection)):
            connection.send(keep(folder, part))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # nobody is left who wants an answer
    except (McdropError, OSError) as error:
        connection.send(error)
    except Exception as error:
        connection.send(McdropError(f"a worker failed: {type(error).__name__}: {error}"))


def _received(connection: Connection) -> Iterator[Work]:
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return
