"""The LitServe application that its users write: decode, predict, encode.

Run as ``python -m benchmarks.service.stock PORT KIND BODY BATCH TIMEOUT WEIGHTS``; KIND is echo,
deterministic or mc (the model in train mode, asked T = 100 times), BODY json or float32.
"""

import sys
from typing import Annotated, Any

import litserve as ls  # type: ignore[import-untyped]
import numpy as np
import torch
from fastapi import Depends, Request

from benchmarks.service.model import SAMPLES, network_of

__all__: list[str] = []


async def raw_body(request: Request) -> bytes:
    """The body as it came: LitServe's way to binary bodies."""
    return await request.body()


class Application(ls.LitAPI):  # type: ignore[misc]
    """Answers class and confidence of one row a request."""

    def __init__(self, kind: str, weights: str, **options: Any) -> None:
        super().__init__(**options)
        self.kind, self.weights = kind, weights

    def setup(self, _device: str) -> None:
        """Load the model."""
        torch.set_num_threads(1)
        if self.kind != "echo":
            self.model = network_of(self.weights)
            self.model.train(self.kind == "mc")

    def predict(self, x: Any) -> Any:
        """Answers of one row, or of a batch of them."""
        alone = self.max_batch_size == 1
        rows = x[None] if alone else np.stack(x)
        answers = self.answer(rows)
        return answers[0] if alone else answers

    def answer(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """From rows (B, 784) to class and confidence of each."""
        if self.kind == "echo":
            best, sure = rows.argmax(1), rows.mean(1)
        else:
            with torch.inference_mode():
                batch = torch.from_numpy(rows)
                passes = SAMPLES if self.kind == "mc" else 1
                p = torch.stack([self.model(batch).softmax(-1) for _ in range(passes)]).mean(0)
            sure, best = (value.numpy() for value in p.max(1))
        pairs = zip(best.tolist(), sure.tolist(), strict=True)
        return [{"prediction": str(i), "confidence": c} for i, c in pairs]

    def unbatch(self, output: Any) -> Any:
        """One answer a request."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """JSON."""
        return output


class Json(Application):
    """``{"inputs": [...]}``."""

    # Without a type: the fastest way that LitServe reads JSON.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """The row."""
        return np.array(request["inputs"][0], np.float32)


class Float32(Application):
    """The row's bytes."""

    def decode_request(self, request: Annotated[bytes, Depends(raw_body)]) -> np.ndarray:
        """The row."""
        return np.frombuffer(request, np.float32)


if __name__ == "__main__":
    port, kind, body, batch, timeout, weights = sys.argv[1:]
    options = {"max_batch_size": int(batch), "batch_timeout": float(timeout)}
    api = (Json if body == "json" else Float32)(kind, weights, **options)
    server = ls.LitServer(api, accelerator="cpu")
    server.run(
        port=int(port),
        host="127.0.0.1",
        log_level="error",
        generate_client_file=False,
        access_log=False,
    )
