"""The client that waits.

Knows connections and clocks. Refuses to know what is sent (``exchange``).
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self, Unpack

import httpx

from mcdrop.client import exchange
from mcdrop.client.exchange import Events, Options, Request, Tries
from mcdrop.errors import ServiceError
from mcdrop.predictions import Predictions, Samples

__all__ = ["Client"]


class Client:
    """A server, asked as a `mcdrop.Predictor` is. Safe to share between threads.

    Args:
        url: of the server.
        model: to ask, where a call does not say; may be left out if the server has only one.
        key: API key.
        timeout: seconds that one try may go without a byte.
        retries: further tries where a server is busy (429, 502, 503) or not there, after as long
            as it asks for. An answer depends on nothing but the request: asking twice is harmless.
        transport: of httpx, for other ways than TCP.

    Example:
        >>> with mcdrop.Client("http://localhost:8000", model="digits") as client:
        ...     client.predict(x, samples=100, seed=0).confidence
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        model: str | None = None,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._usual = {"model": model}
        self._retries = retries
        headers = {"x-api-key": key} if key else {}
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, transport=transport
        )

    def predict(
        self, rows: Any, samples: Samples = None, seed: int = 0, **options: Unpack[Options]
    ) -> Predictions:
        """Answer for raw rows; see `mcdrop.Predictor.predict`.

        Args:
            rows: numbers (B, ...), records, an Arrow table or a data frame, or the bytes of image
                files (B,).
            samples: T; "auto": as many as each row needs; None: the model's own number.
            seed: draws the T thinned networks.
            options: ``level``, ``risk``, ``model``, ``version``, ``tolerance`` with "auto"; and
                ``request_id``, which names the answer in the server's logs and for `feedback`.

        Raises:
            InputError: the rows or options cannot be used.
            RepositoryError: no such model or version.
            ServiceError: the server did not answer.
        """
        asked = {**self._usual, "samples": samples, "seed": seed, **options}
        return exchange.read(self._send(exchange.ask(rows, asked, "/predict")))

    def stream(
        self, rows: Any, samples: Samples = None, seed: int = 0, **options: Unpack[Options]
    ) -> Iterator[Predictions]:
        """The answers after 8, 16, 32, ... passes; leaving the iterator ends the evaluation.

        Args:
            rows: as for `predict`.
            samples: T to end with, or "auto".
            seed: draws the T thinned networks.
            options: as for `predict`; with ``tolerance``, each row's last answer is of as many
                passes as it needs, at most ``samples``.

        Raises:
            McdropError: as `predict`; ServiceError too where the stream is cut short.
        """
        asked = {**self._usual, "samples": samples, "seed": seed, **options}
        request, events = exchange.ask(rows, asked, "/predict/stream"), Events()
        try:
            with self._http.stream(**request.arguments) as answer:
                if answer.status_code != 200:
                    raise exchange.refuse(answer.status_code, answer.read())
                for line in answer.iter_lines():
                    found = events.take(line)
                    if found is not None:
                        yield found
        except httpx.HTTPError as error:
            raise ServiceError(f"the stream was cut short: {error!r}") from None
        events.check()

    def models(self) -> list[dict[str, Any]]:
        """Every version of every model that can be asked, as ``GET /models`` lists them."""
        found: list[dict[str, Any]] = json.loads(self._send(Request("/models", "GET")))["models"]
        return found

    def feedback(self, request_id: str, labels: Sequence[Any]) -> int:
        """Send the true labels of the rows of an earlier request, None where one is not known.

        Returns:
            How many rows have got a label by this.
        """
        return int(json.loads(self._send(exchange.feedback(request_id, labels)))["taken"])

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, request: Request) -> bytes:
        """The body of a good answer, after some tries."""
        tries = Tries(self._retries)
        while True:
            try:
                outcome = self._http.request(**request.arguments)
            except httpx.TransportError as error:
                time.sleep(tries.after(error))
                continue
            if outcome.status_code == 200:
                return outcome.content
            time.sleep(tries.after(outcome))
