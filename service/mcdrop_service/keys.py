"""API keys: who may ask, and how often.

Keys are kept as their SHA-256. A slow hash (scrypt, say) protects passwords, which can be guessed;
`make` draws 256 random bits, which cannot, and a slow hash on every request would be a way to
stall the server. Knows keys and clocks. Refuses to know HTTP.
"""

import hashlib
import hmac
import multiprocessing
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcdrop.errors import InputError

__all__ = ["Key", "Keyring", "make", "read_keys"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern}):([0-9a-f]{{64}})(?::(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Key:
    """One caller's key.

    Attributes:
        name: of the caller, for logs.
        digest: SHA-256 of the key, in hexadecimal.
        rate: requests a second on average; None for no bound.
    """

    name: str
    digest: str
    rate: float | None = None

    @property
    def burst(self) -> float:
        """Requests that may come at once: a second's worth, and at least one."""
        return max(1.0, self.rate or 0.0)


def make(name: str, rate: float | None = None) -> tuple[str, str]:
    """A new key for ``name``, and the line that lets it in: the key itself is kept nowhere.

    Raises:
        InputError: the name or the rate cannot be written in a line.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"got the name {name!r}, wanted letters, digits, '.', '_' and '-', 64 at most, a "
            "letter or digit first"
        )
    key = secrets.token_urlsafe(32)
    most = "" if rate is None else f":{rate:.6f}".rstrip("0").rstrip(".")
    line = f"{name}:{_digest(key.encode())}{most}"
    _parse(line)
    return key, line


def read_keys(lines: Iterable[str], file: Path | None = None) -> tuple[Key, ...]:
    """The keys of ``lines`` and of the lines of ``file``; empty ones and ``#`` comments are none.

    Raises:
        InputError: a line is no key, a name comes twice, or the file cannot be read.
    """
    try:
        further = file.read_text(encoding="utf-8").splitlines() if file else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"keys cannot be read from {file}: {error}") from None
    bare = (line.partition("#")[0].strip() for line in [*lines, *further])
    keys = tuple(_parse(line) for line in bare if line)
    names = [key.name for key in keys]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"got two keys named {twice!r}, wanted a name for each")
    return keys


class Keyring:
    """The keys of a server, and how much each has asked of late.

    The rate of a key is one bound for all processes forked after this was made. It is kept as one
    number a key, the time at which its bucket is full again (the generic cell rate algorithm: the
    token bucket, seen from its other end), in shared memory and without a lock: a race may let one
    request more pass, and a process that is killed can leave nothing locked.

    Args:
        keys: those that may ask; with none, everyone may.
        clock: seconds, the same in all processes.
    """

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self.keys = tuple(keys)
        self._digests = [bytes.fromhex(key.digest) for key in self.keys]
        self._full = multiprocessing.RawArray("d", max(1, len(self.keys)))
        self._clock = clock

    def find(self, key: bytes) -> int | None:
        """The index of ``key``; None where it is not one of these.

        It is compared with every key, each in constant time: how long it takes says nothing.
        """
        digest, found = hashlib.sha256(key).digest(), None
        for index, known in enumerate(self._digests):
            if hmac.compare_digest(digest, known):
                found = index
        return found

    def wait(self, index: int) -> float:
        """Seconds until the key may ask; 0 where it may now, which then counts."""
        key = self.keys[index]
        if key.rate is None:
            return 0.0
        now = self._clock()
        full: float = max(now, self._full[index]) + 1 / key.rate
        early = full - now - key.burst / key.rate
        if early > 1e-9:
            return early
        self._full[index] = full
        return 0.0


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


def _parse(line: str) -> Key:
    match = _LINE.fullmatch(line)
    if match is None or (match[3] and not 0 < float(match[3]) <= 1e6):
        raise InputError(
            f"got the key {line[:20]!r}, wanted NAME:SHA256 or NAME:SHA256:REQUESTS_PER_SECOND, as "
            "`mcdrop key NAME` writes it (a file of them is the setting keys_file)"
        )
    return Key(match[1], match[2], float(match[3]) if match[3] else None)
