"""What of a scoring is done: a folder beside the output that survives the death of its writer.

    job.json         what is scored, by what: another scoring is refused
    manifest.jsonl   a line a committed chunk: its rows, and the SHA-256 of its files
    chunks/          a file of answers a chunk, and one of rejected rows where there are any
    stdin            what came by standard input
    output           the output, until it is complete

A chunk counts when its line is in the manifest; files are moved to their names when they are
complete, and checked against their hash when a scoring goes on. Refuses to know what is in them.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

import pyarrow as pa

from mcdrop.data.images import cache_folder
from mcdrop.errors import DataError
from mcdrop.scoring.places import is_url
from mcdrop.scoring.scorer import Part

__all__ = ["Journal", "Record", "keep", "place"]


@dataclass(frozen=True)
class Record:
    """A line of the manifest."""

    chunk: int
    rows: int
    rejected: int
    sha256: str


def place(output: str) -> Path:
    """Where the journal of an output lies: beside it, or in the user's cache for a URL."""
    if is_url(output):
        return cache_folder() / "scoring" / hashlib.sha256(output.encode()).hexdigest()[:16]
    path = Path(output)
    return path.parent / f".{path.name}.mcdrop"


def keep(folder: Path, part: Part) -> Record:
    """Write a part's files; it is for the journal to commit them. Safe in any process."""
    answers, side = _files(folder, part.number)
    if part.side:
        _write(side, part.side)
    _write(answers, part.content)
    digest = hashlib.sha256(part.content + part.side).hexdigest()
    return Record(part.number, part.rows, part.rejected, digest)


class Journal:
    """The folder of one scoring, held by one process at a time.

    Args:
        folder: see `place`.

    Attributes:
        records: of the committed chunks, by number.
        rows: their rows, those rejected counted in.

    Raises:
        DataError: another process is at it, or the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[int, Record] = {}
        self.rows = 0
        self._ours = True
        try:
            (folder / "chunks").mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise DataError(f"{folder} cannot be made: {os.strerror(error.errno or 0)}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise DataError(
                f"another process is writing this output (it holds {folder}): wait for it, or "
                "choose another output"
            ) from None
        self._manifest: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._manifest:
            self._manifest.close()
        if self._ours and not self.records:  # nothing worth keeping
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def begin(self, job: Mapping[str, str]) -> None:
        """Start, or go on with the same job.

        Raises:
            DataError: what is here belongs to another job.
        """
        path = self.folder / "job.json"
        if path.exists():
            self._check(json.loads(path.read_text()), dict(job))
        else:
            _write(path, json.dumps(dict(job), indent=1).encode())
        for record in self._read():
            self._count(record)
        lines = "".join(map(_line, self.records.values()))
        _write(self.folder / "manifest.jsonl", lines.encode())  # without what was cut off
        self._manifest = (self.folder / "manifest.jsonl").open("a")

    def commit(self, record: Record) -> None:
        """Count a chunk whose files are written."""
        if self._manifest and record.chunk not in self.records:
            self._manifest.write(_line(record))
            self._manifest.flush()
            self._count(record)

    def table(self, chunk: int) -> pa.Table:
        """The answers of a committed chunk, mapped from its file."""
        with pa.memory_map(str(_files(self.folder, chunk)[0])) as source:
            return pa.ipc.open_stream(source).read_all()

    def side(self, chunk: int) -> bytes:
        """The rejected rows of a committed chunk."""
        return _files(self.folder, chunk)[1].read_bytes() if self.records[chunk].rejected else b""

    def finish(self) -> None:
        """Forget the scoring, whose output is in its place."""
        self.records = {}

    def _count(self, record: Record) -> None:
        self.records[record.chunk] = record
        self.rows += record.rows + record.rejected

    def _check(self, there: dict[str, str], here: dict[str, str]) -> None:
        names = [name for name in here | there if here.get(name) != there.get(name)]
        if not names:
            return
        told = "; ".join(
            f"{name} is {here.get(name, 'absent')}, was {there.get(name, 'absent')}"
            for name in names[:4]
        )
        self._ours = False
        raise DataError(
            f"an unfinished scoring to the same output is another one: {told}. Go on with it by "
            f"its own command, or remove {self.folder} to start anew"
        )

    def _read(self) -> list[Record]:
        path = self.folder / "manifest.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = []
        for line in lines:
            try:
                record = Record(**json.loads(line))
                answers, side = _files(self.folder, record.chunk)
                content = answers.read_bytes() + (side.read_bytes() if record.rejected else b"")
            except (ValueError, TypeError, OSError):
                continue  # cut off in the middle, or without its files: to be made again
            if hashlib.sha256(content).hexdigest() == record.sha256:
                found.append(record)
        return found


def _files(folder: Path, chunk: int) -> tuple[Path, Path]:
    stem = folder / "chunks" / f"{chunk:08d}"
    return stem.with_suffix(".arrow"), stem.with_suffix(".rejected.jsonl")


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


def _line(record: Record) -> str:
    return json.dumps(asdict(record)) + "\n"
