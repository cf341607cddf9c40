"""Folders of the dead are removed; those of the living, of others, and what is in doubt stay."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mcdrop_service import scratch

PROGRAM = """
import os, sys
from mcdrop_service import scratch
folder = scratch.make("metrics-")
(folder / "counts").write_text("1")
if "fork" in sys.argv and os.fork() == 0:
    sys.stdin.read()  # lives on when the first is dead
    os._exit(0)
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def start(place: Path, *words: str) -> "tuple[subprocess.Popen[str], Path]":
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("words", [(), ("fork",)])
def test_folders_stay_as_long_as_who_made_them(place: Path, words: tuple[str, ...]) -> None:
    process, folder = start(place, *words)
    assert folder.parent == place
    scratch.remove_orphans()
    assert (folder / "counts").read_text() == "1"
    process.send_signal(signal.SIGKILL)
    process.wait()
    if words:  # a process forked from it needs it still
        scratch.remove_orphans()
        assert (folder / "counts").read_text() == "1"
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    assert process.stdout.read() == ""  # its end: the last process is gone
    scratch.remove_orphans()
    assert not folder.exists()


def test_what_is_in_doubt_stays(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / scratch._LOCK).touch()
    (elsewhere / "precious").touch()
    (place / "mcdrop-link").symlink_to(elsewhere)
    (place / "mcdrop-file").touch()
    (place / "mcdrop-lockless").mkdir()
    linked = place / "mcdrop-linked"
    linked.mkdir()
    (linked / scratch._LOCK).symlink_to(elsewhere / scratch._LOCK)
    another = place / "mcdrop-another"  # somebody's, who locks files in another way
    another.mkdir()
    (another / "lock").touch()
    before = sorted(place.rglob("*"))
    scratch.remove_orphans()
    assert sorted(place.rglob("*")) == before


def test_where_nothing_can_be_locked_folders_are_made_and_stay(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lockless(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", lockless)
    with scratch.temporary() as folder:
        monkeypatch.undo()
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        scratch.remove_orphans()
        assert folder.is_dir()


def test_of_other_users_nothing_is_touched(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, folder = start(place)
    process.kill()
    process.wait()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    scratch.remove_orphans()
    assert folder.exists()
    monkeypatch.undo()
    shutil.rmtree(folder)


def test_a_folder_lasts_as_long_as_its_context(place: Path) -> None:
    with scratch.temporary() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "0.sock").touch()
        scratch.remove_orphans()
        assert {path.name for path in folder.iterdir()} == {"0.sock", scratch._LOCK}
    assert not folder.exists()
