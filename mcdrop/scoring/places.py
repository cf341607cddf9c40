"""Where rows lie: a file, a folder, a glob or a URL becomes a list of files of one kind.

Knows local paths, fsspec's URLs and what files look like. Refuses to know what is in them. A file
has a stamp that changes when its content does, so that two halves of a scoring cannot come from
different rows.
"""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, Literal

import fsspec

from mcdrop.data.columns import list_names
from mcdrop.errors import DataError

__all__ = ["File", "Kind", "check_apart", "find", "is_url", "open_file", "publish", "spool"]

Kind = Literal["csv", "jsonl", "parquet", "arrow", "npy", "npz", "image"]

_SUFFIXES: dict[str, Kind] = {
    **{".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"},
    **{".parquet": "parquet", ".pq": "parquet"},
    **{".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow", ".npy": "npy", ".npz": "npz"},
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"), "image"),
}
_MAGIC: dict[bytes, Kind] = {
    **{b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"},
    **{b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"{": "jsonl", b"[": "jsonl"},
}
_UNMARKED: Kind = "csv"


@dataclass(frozen=True)
class File:
    """A file of rows.

    Attributes:
        name: as the user knows it.
        path: where it can be opened: an absolute path or a URL.
        kind: what reads it.
        stamp: changes with the content: size and time of change, or what the store says of it.
    """

    name: str
    path: str
    kind: Kind
    stamp: str


def find(source: str) -> list[File]:
    """The files that ``source`` means, in the order of their names.

    Args:
        source: a file, a folder (its files, at any depth), a glob, or a URL of any of them.

    Raises:
        DataError: there is no such file, or files of several kinds, or of none that can be read.
    """
    found = _remote(source) if is_url(source) else _local(source)
    if not found:
        raise DataError(f"no file at {source}: check the path")
    kinds: dict[Kind, str] = {}
    for name, *_ in found:
        suffix = Path(name).suffix.lower()
        if suffix not in _SUFFIXES:
            raise DataError(
                f"{name} is of no kind that can be read: give {', '.join(_SUFFIXES)}; of a folder "
                "that holds others, choose by a glob, as 'folder/*.csv'"
            )
        kinds.setdefault(_SUFFIXES[suffix], name)
    if len(kinds) > 1:
        raise DataError(
            f"{source} holds files of several kinds, as {list_names(list(kinds.values()))}: choose "
            "by a glob, as 'folder/*.csv'"
        )
    (kind,) = kinds
    return [File(name, path, kind, stamp) for name, path, stamp in found]


def check_apart(files: Sequence[File], target: str) -> None:
    """Raise where an output would take the place of what is read.

    Raises:
        DataError: ``target`` is one of ``files``, or a folder that holds one of them.
    """
    wanted = _place(target)
    for file in files:
        place = _place(file.path)
        if place == wanted or wanted in place.parents:
            raise DataError(
                f"{target} would take the place of {file.name}, which is read: give another output"
            )


def _place(path: str) -> PurePath:
    """Where a path or URL leads, the same for all ways to write it."""
    if not is_url(path):
        return Path(path).resolve()
    fs, inner = _store(path)
    return PurePosixPath(f"{fs.protocol}:", inner.strip("/"))


def is_url(path: str) -> bool:
    """Whether fsspec is to be asked."""
    return "://" in path and not path.startswith("file://")


@contextmanager
def open_file(path: str) -> Iterator[IO[bytes]]:
    """Open a file or URL for reading; it can be sought in.

    Raises:
        DataError: the package that speaks the URL's protocol is not installed.
    """
    if not is_url(path):
        with Path(path).open("rb") as file:
            yield file
        return
    fs, inner = _store(path)
    with fs.open(inner, "rb") as file:
        yield file


def publish(file: Path, target: str) -> None:
    """Put a finished local file where it was wanted: at once, as far as the store can."""
    if is_url(target):
        fs, inner = _store(target)
        fs.put_file(str(file), inner)
        file.unlink()
    else:
        file.replace(target)


def spool(stream: IO[bytes], path: Path) -> File:
    """Keep what comes from a stream, which can be read only once, in a file of its own.

    Its kind is told by its first bytes; what has no mark of its own is CSV.
    """
    digest, head = hashlib.sha256(), b""
    with path.open("wb") as file:
        while content := stream.read(1 << 20):
            head = head or content[:16].removeprefix(b"\xef\xbb\xbf").lstrip()
            digest.update(content)
            file.write(content)
    kinds: list[Kind] = [kind for mark, kind in _MAGIC.items() if head.startswith(mark)]
    return File("standard input", str(path), (*kinds, _UNMARKED)[0], digest.hexdigest())


def _local(source: str) -> list[tuple[str, str, str]]:
    path = Path(source.removeprefix("file://"))
    if path.is_dir():
        inside = (p for p in path.rglob("*") if _is_shown(p.relative_to(path).parts))
        names = sorted(str(p) for p in inside if p.is_file())
    elif path.is_file():
        names = [str(path)]
    else:
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - of any root
        names = [name for name in matches if Path(name).is_file()]
    return [(name, str(Path(name).absolute()), _stamp(Path(name))) for name in names]


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} bytes, changed {status.st_mtime_ns}"


def _remote(source: str) -> list[tuple[str, str, str]]:
    fs, inner = _store(source)
    if glob.has_magic(inner):
        paths = [path for path in fs.glob(inner) if fs.isfile(path)]
    elif fs.isdir(inner):
        root = inner.rstrip("/")
        paths = [p for p in fs.find(root) if _is_shown(p.removeprefix(root).strip("/").split("/"))]
    else:
        paths = [inner] if fs.isfile(inner) else []
    urls = [fs.unstrip_protocol(path) for path in sorted(paths)]
    return [(url, url, str(fs.ukey(path))) for url, path in zip(urls, sorted(paths), strict=True)]


def _is_shown(parts: Any) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)


def _store(url: str) -> tuple[Any, str]:
    try:
        fs, inner = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DataError(f"{url} needs another package: {error}") from None
    except ValueError as error:
        raise DataError(f"{url} cannot be opened: {error}") from None
    return fs, inner
