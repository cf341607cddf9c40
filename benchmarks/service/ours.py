"""Our server, as it is but for what stands in the place of the evaluation of passes.

Run as ``python -m benchmarks.service.ours KIND serve ...``; KIND is mc for the server itself, echo
for one that looks at rows without a network, deterministic for one that asks the network once.
"""

import sys
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mcdrop.cli
import mcdrop_service.server
from mcdrop.predictor import Predictor, Samples
from mcdrop.uncertainty import Classification, DeterministicClasses
from mcdrop_service.application import PredictAPI

__all__: list[str] = []


class Short(Predictor, ABC):
    """A predictor whose every pass says the same."""

    def __init__(self, whole: Predictor) -> None:
        super().__init__(whole.card, whole.network, whole.reference)

    @abstractmethod
    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """What it says of rows (B, D), (B, C)."""

    def evaluate(
        self, x: NDArray[np.float32], samples: Samples = None, *_: Any, **_options: Any
    ) -> Classification:
        """As if from passes."""
        p = self.probabilities(x)
        none, nothing = np.zeros(len(p)), np.zeros_like(p)
        fixed = DeterministicClasses(p)
        count = samples if isinstance(samples, int) else 1
        return Classification(p, nothing, none, nothing, none, none, fixed, count)


class Echo(Short):
    """Which tenth of the row is brightest, and nothing more."""

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One, where the brightest place's number modulo ten is."""
        brightest: NDArray[np.float64] = np.eye(10)[x.argmax(axis=1) % 10]
        return brightest


class Deterministic(Short):
    """The network without dropout."""

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The softmax of its outputs."""
        with torch.inference_mode():
            outputs: torch.Tensor = self.network(torch.from_numpy(x))
            return outputs.softmax(-1).double().numpy()


class _API(PredictAPI):
    short: type[Short]

    def setup(self, device: str) -> None:
        """Put the predictor in the served one's place."""
        super().setup(device)
        served = self.shelf._served
        short = {name: self.short(predictor) for name, predictor in served.items()}

        def find(model: str | None, version: int | None) -> Predictor:  # noqa: ARG001
            return short[model or ""]

        self.shelf.find = find  # type: ignore[method-assign]


class EchoAPI(_API):
    """Serves `Echo`."""

    short = Echo


class DeterministicAPI(_API):
    """Serves `Deterministic`."""

    short = Deterministic


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    kinds: dict[str, Any] = {"mc": PredictAPI, "echo": EchoAPI, "deterministic": DeterministicAPI}
    mcdrop_service.server.PredictAPI = kinds[kind]  # type: ignore[attr-defined]
    mcdrop.cli.main()
