"""What clients do in a soak, and whether they were answered right.

Good requests of several kinds, bad ones, clients that leave. Every good answer is compared with
the library's own for the version that it names.
"""

import http.client
import json
import random
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import mcdrop
from benchmarks.service.model import NAME

__all__ = ["Soak", "Truth"]

ROWS = np.random.default_rng(0).integers(0, 256, (40, 784)).astype(np.float64)
SAMPLES = (20, 100)
KINDS = ("good", "binary", "bad", "broken", "leaving", "stream")


class Truth:
    """What the library says of rows, by version and samples."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[int, int], np.ndarray] = {}

    def learn(self, folder: Path, version: int) -> None:
        """Ask what will be ``version``, before it is there to be asked."""
        predictor = mcdrop.load(folder)
        for samples in SAMPLES:
            answer = predictor.predict(ROWS, samples).mean
            with self._lock:
                self._found[version, samples] = answer

    def agrees(self, answer: dict[str, Any], start: int) -> bool:
        """Whether rows from ``start`` on were answered as the library answers them."""
        with self._lock:
            expected = self._found[answer["version"], answer["samples"]]
        found = np.array([list(row["probabilities"].values()) for row in answer["predictions"]])
        # A bfloat16 product may round another way in other company.
        return bool(np.allclose(found, expected[start : start + len(found)], atol=1e-3))


class Soak:
    """One run: clients, and what they saw."""

    def __init__(self, port: int, truth: Truth, seed: int) -> None:
        self.port, self.truth = port, truth
        self.seen: Counter[str] = Counter()
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._random = random.Random(seed)

    def live(self) -> None:
        """One client after the other, until told to stop."""
        while not self.done.is_set():
            with self._lock:
                kind = self._random.choice(KINDS)
                start, count = self._random.randrange(30), self._random.randint(1, 10)
                samples = self._random.choice(SAMPLES)
            try:
                outcome = getattr(self, f"_{kind}")(start, count, samples)
            except (OSError, http.client.HTTPException) as error:
                outcome = f"lost: {type(error).__name__}"
            with self._lock:
                self.seen[f"{kind}: {outcome}"] += 1

    def _good(self, start: int, count: int, samples: int) -> str:
        rows = ROWS[start : start + count].tolist()
        body = {"model": NAME, "inputs": rows, "samples": samples, "fields": ["probabilities"]}
        return self._told(*self._ask("/predict", json.dumps(body).encode()), start)

    def _binary(self, start: int, count: int, samples: int) -> str:
        rows = ROWS[start : start + count].astype("<f4")
        path = f"/predict?model={NAME}&samples={samples}&fields=probabilities"
        kind = {"content-type": "application/octet-stream", "x-shape": f"{count},784"}
        return self._told(*self._ask(path, rows.tobytes(), kind), start)

    def _bad(self, start: int, count: int, samples: int) -> str:
        bodies = [
            {"model": NAME, "inputs": [[start] * 783]},
            {"model": "none", "inputs": [[0] * 784]},
            {"model": NAME, "inputs": [["x"] * 784]},
            {"model": NAME, "inputs": [[0] * 784], "samples": -samples},
        ]
        status, _ = self._ask("/predict", json.dumps(bodies[count % 4]).encode())
        return "refused" if 400 <= status < 500 else f"wrong: {status}"

    def _broken(self, start: int, count: int, samples: int) -> str:
        del samples
        status, _ = self._ask("/predict", b'{"inputs": [[' + b"1," * (start * count))
        return "refused" if status == 400 else f"wrong: {status}"

    def _leaving(self, start: int, count: int, samples: int) -> str:
        rows = np.tile(ROWS[start : start + count], (10, 1)).tolist()
        body = json.dumps({"model": NAME, "inputs": rows, "samples": 10 * samples}).encode()
        with socket.create_connection(("127.0.0.1", self.port), 30) as place:
            head = "POST /predict HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            place.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return "left"

    def _stream(self, start: int, count: int, samples: int) -> str:
        rows = ROWS[start : start + count].tolist()
        body = {"model": NAME, "inputs": rows, "samples": samples, "fields": ["probabilities"]}
        status, content = self._ask("/predict/stream", json.dumps(body).encode())
        events = [part.split(b"\n") for part in content.split(b"\n\n") if part]
        if status == 200 and events[-1][0] == b"event: error":
            return "cut, and told so"  # its worker was killed after the first estimate
        if status != 200 or events[-1][0] != b"event: done":
            return f"lost: {status}"
        last = json.loads(events[-2][1].removeprefix(b"data: "))
        return "answered" if self.truth.agrees(last, start) else "wrong"

    def _told(self, status: int, content: bytes, start: int) -> str:
        if status != 200:
            return f"lost: {status}"
        return "answered" if self.truth.agrees(json.loads(content), start) else "wrong"

    def _ask(
        self, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        place = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            kind = {"content-type": "application/json"}
            place.request("POST", path, body, headers or kind)
            answer = place.getresponse()
            return answer.status, answer.read()
        finally:
            place.close()
