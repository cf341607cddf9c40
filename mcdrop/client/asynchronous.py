"""The client that awaits.

Knows connections and clocks. Refuses to know what is sent (``exchange``).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self, Unpack

import httpx

from mcdrop.client import exchange
from mcdrop.client.exchange import Events, Options, Request, Tries
from mcdrop.errors import ServiceError
from mcdrop.predictions import Predictions, Samples

__all__ = ["AsyncClient"]


class AsyncClient:
    """A server, asked as by `mcdrop.Client`, from within an event loop.

    Args:
        url: of the server.
        model: to ask, where a call does not say; may be left out if the server has only one.
        key: API key.
        timeout: seconds that one try may go without a byte.
        retries: further tries where a server is busy or not there.
        transport: of httpx, for other ways than TCP.

    Example:
        >>> async with mcdrop.AsyncClient("http://localhost:8000", model="digits") as client:
        ...     (await client.predict(x, samples=100, seed=0)).confidence
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        model: str | None = None,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._usual = {"model": model}
        self._retries = retries
        headers = {"x-api-key": key} if key else {}
        self._http = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=timeout, transport=transport
        )

    async def predict(
        self, rows: Any, samples: Samples = None, seed: int = 0, **options: Unpack[Options]
    ) -> Predictions:
        """Answer for raw rows; see `mcdrop.Client.predict`."""
        asked = {**self._usual, "samples": samples, "seed": seed, **options}
        return exchange.read(await self._send(exchange.ask(rows, asked, "/predict")))

    async def stream(
        self, rows: Any, samples: Samples = None, seed: int = 0, **options: Unpack[Options]
    ) -> AsyncIterator[Predictions]:
        """The answers after 8, 16, 32, ... passes; see `mcdrop.Client.stream`."""
        asked = {**self._usual, "samples": samples, "seed": seed, **options}
        request, events = exchange.ask(rows, asked, "/predict/stream"), Events()
        try:
            async with self._http.stream(**request.arguments) as answer:
                if answer.status_code != 200:
                    raise exchange.refuse(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    found = events.take(line)
                    if found is not None:
                        yield found
        except httpx.HTTPError as error:
            raise ServiceError(f"the stream was cut short: {error!r}") from None
        events.check()

    async def models(self) -> list[dict[str, Any]]:
        """Every version of every model that can be asked, as ``GET /models`` lists them."""
        found: list[dict[str, Any]] = json.loads(await self._send(Request("/models", "GET")))[
            "models"
        ]
        return found

    async def feedback(self, request_id: str, labels: Sequence[Any]) -> int:
        """Send the true labels of an earlier request; see `mcdrop.Client.feedback`."""
        return int(json.loads(await self._send(exchange.feedback(request_id, labels)))["taken"])

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, request: Request) -> bytes:
        """The body of a good answer, after some tries."""
        tries = Tries(self._retries)
        while True:
            try:
                outcome = await self._http.request(**request.arguments)
            except httpx.TransportError as error:
                await asyncio.sleep(tries.after(error))
                continue
            if outcome.status_code == 200:
                return outcome.content
            await asyncio.sleep(tries.after(outcome))
