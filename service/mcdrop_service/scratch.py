"""Folders of this process's own, gone when it ends; at the latest when another of its kind starts.

A process that is killed outright leaves its folders behind. Each holds a file that is locked as
long as its maker lives, or one forked from it, so that the next to start can tell those that
nobody needs; the lock is there before the file has its name. Knows the temporary folder. Refuses to
know what is kept in its own.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["make", "remove_orphans", "temporary"]

_PREFIX = "mcdrop-"
_LOCK = ".mcdrop-scratch.lock"


def make(kind: str = "") -> Path:
    """A new folder, readable by this user only; another process removes it after this one's end."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX + kind))
    unnamed = folder / f"{_LOCK}.new"
    lock = os.open(
        unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600
    )  # open until the process ends
    with contextlib.suppress(OSError):  # where there are no locks: nobody takes it for an orphan
        fcntl.flock(lock, fcntl.LOCK_EX)
        unnamed.rename(folder / _LOCK)
    return folder


@contextmanager
def temporary() -> Iterator[Path]:
    """A new folder, for as long as the context lasts."""
    folder = make()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_orphans() -> None:
    """Remove this user's folders whose makers have ended; what is another's or in doubt stays."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another was faster, or it is not ours
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                _remove_orphan(folder)


def _remove_orphan(folder: Path) -> None:
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while somebody lives
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
