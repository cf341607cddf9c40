"""The plain loop: MC dropout as everybody writes it. What the engine is measured against."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import torch
from torch import nn


def mlp(widths: Sequence[int], rates: Sequence[float], seed: int = 0, gain: float = 1.0):
    """Linear layers with ReLU between them; ``rates[i]`` drops the input of layer i."""
    generator = torch.Generator().manual_seed(seed)
    modules: list[nn.Module] = []
    for i, rate in enumerate(rates):
        if rate:
            modules.append(nn.Dropout(rate))
        layer = nn.Linear(widths[i], widths[i + 1])
        with torch.no_grad():
            scale = gain * (2 / widths[i]) ** 0.5
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.1)
        modules.append(layer)
        if i < len(rates) - 1:
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)


def rows(count: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def plain_loop(network: nn.Module, x: torch.Tensor, samples: int, seed: int = 0) -> np.ndarray:
    """T forward passes of a copy in train mode: raw outputs (T, B, C), float64."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return np.stack([network(x).double().numpy() for _ in range(samples)])


def softmax(outputs: np.ndarray) -> np.ndarray:
    return torch.softmax(torch.from_numpy(outputs), dim=-1).numpy()


def every_mask(network: nn.Sequential, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """All masks of a tiny MLP: their probabilities (M,) and outputs (M, B, C)."""
    network = copy.deepcopy(network).double().eval()
    widths, width = [], x.shape[1]
    for module in network:
        if isinstance(module, nn.Dropout):
            widths.append((width, module.p))
        elif isinstance(module, nn.Linear):
            width = module.out_features
    weights, outputs = [], []
    for keep in product((0.0, 1.0), repeat=sum(units for units, _ in widths)):
        state, start, weight, layer = x.double(), 0, 1.0, 0
        for module in network:
            if isinstance(module, nn.Dropout):
                units, rate = widths[layer]
                mask = torch.tensor(keep[start : start + units], dtype=torch.float64)
                weight *= float(torch.where(mask > 0, 1 - rate, rate).prod())
                state, start, layer = state * mask / (1 - rate), start + units, layer + 1
            else:
                state = module(state)
        weights.append(weight)
        outputs.append(state.detach().numpy())
    return np.array(weights), np.stack(outputs)


def masked_loop(network: nn.Sequential, x: torch.Tensor, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Float64 outputs (T, B, C) under given masks, one (T, units) array a dropout."""
    network = copy.deepcopy(network).double().eval()
    results = []
    for t in range(len(masks[0])):
        state, layer = x.double(), 0
        for module in network:
            if isinstance(module, nn.Dropout):
                state = state * torch.from_numpy(masks[layer][t]) / (1 - module.p)
                layer += 1
            else:
                state = module(state)
        results.append(state.detach().numpy())
    return np.stack(results)


def by_threads(answer: Callable[[], np.ndarray], times: int) -> list[np.ndarray]:
    """What four threads get at once, each so many times."""
    with ThreadPoolExecutor(4) as pool:
        turns = pool.map(lambda _: [answer() for _ in range(times)], range(4))
        return [one for turn in turns for one in turn]
