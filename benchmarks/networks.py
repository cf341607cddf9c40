"""The networks that benchmarks evaluate, and how a careful user would: the plain loop.

Knows what of their multiplications is useful. Refuses to know clocks.
"""

import torch
from torch import Tensor, nn

SAMPLES = 100
NETWORKS: dict[str, tuple[list[int], list[float]]] = {
    "784-256-128-10": ([784, 256, 128, 10], [0.0, 0.3, 0.5]),
    "784-256-256-10": ([784, 256, 256, 10], [0.0, 0.2, 0.5]),
    "13-50-1": ([13, 50, 1], [0.05, 0.05]),
    "1-200-200-200-1": ([1, 200, 200, 200, 1], [0.0, 0.1, 0.1, 0.1]),
    "784-1024-1024-1024-10": ([784, 1024, 1024, 1024, 10], [0.0, 0.5, 0.5, 0.5]),
}
SETTINGS: dict[str, dict[str, str]] = {
    "auto": {},
    "float32": {"precision": "float32"},
    "independent": {"masks": "independent"},
}


def build(name: str) -> nn.Sequential:
    """A network of the table, He-initialized."""
    widths, rates = NETWORKS[name]
    modules: list[nn.Module] = []
    for i, rate in enumerate(rates):
        linear = nn.Linear(widths[i], widths[i + 1])
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        dropout = [nn.Dropout(rate)] if rate else []
        modules += [*dropout, linear, *([nn.ReLU()] if i < len(rates) - 1 else [])]
    return nn.Sequential(*modules)


def plain_loop(network: nn.Module, x: Tensor, samples: int) -> tuple[Tensor, ...]:
    """MC dropout as it is usually written."""
    with torch.inference_mode():
        network.eval()
        deterministic = network(x)
        network.train()
        outputs = torch.stack([network(x) for _ in range(samples)])
        network.eval()
        if outputs.shape[2] == 1:
            return deterministic, outputs.mean(0), outputs.std(0)
        p = outputs.softmax(-1)
        mean = p.mean(0)
        total = torch.special.entr(mean).sum(-1)
        aleatoric = torch.special.entr(p).sum(-1).mean(0)
        return deterministic.softmax(-1), mean, p.std(0), total, aleatoric, total - aleatoric


def forward(network: nn.Module, x: Tensor) -> Tensor:
    """One deterministic pass."""
    with torch.inference_mode():
        output: Tensor = network(x)
        return output


def useful(name: str, samples: int) -> float:
    """Multiplications a row needs: the trunk once, kept units of every pass."""
    widths, rates = NETWORKS[name]
    kept = [1 - rate for rate in rates] + [1.0]
    first = next(i for i, rate in enumerate(rates) if rate)
    trunk = sum(widths[i] * widths[i + 1] for i in range(first))
    tail = sum(widths[i] * kept[i] * widths[i + 1] * kept[i + 1] for i in range(first, len(rates)))
    return trunk + samples * tail
