"""The dropout multilayer perceptron: a plain ``torch.nn.Sequential``.

Knows layers, dropout rates and initialization. Refuses to know data, files and how passes are
drawn: train it in any loop, save it with any tool, hand it to `mcdrop.Posterior` when done.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mcdrop.errors import InputError
from mcdrop.recipe import NetworkRecipe

__all__ = ["DropoutMLP", "build_network", "dropout", "with_spread"]

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class DropoutMLP(nn.Sequential):
    """[Dropout] -> (Linear -> activation -> [Dropout]) per hidden layer -> Linear.

    Takes (B, in_features) and gives (B, out_features): logits, or regression outputs. Dropout is
    inverted, as ``torch.nn.Dropout`` has it: kept units are scaled by 1 / (1 - p) while training,
    so that the expectation is the eval-mode forward of the next linear layer (Srivastava 2014,
    section 10). Layers with rate 0 are left out.

    Args:
        in_features: width D of the input.
        hidden: units of each hidden layer; none makes a linear model.
        out_features: classes or regression outputs C.
        dropout: rate after each hidden layer, in [0, 1).
        input_dropout: rate on the input, in [0, 1).
        activation: "relu", "gelu", "silu" or "tanh".
        init: "he" (He 2015, fan-in normal), "xavier" (Glorot 2010, uniform) or "normal".
            Biases start at 0.
        init_std: standard deviation of the weights where ``init`` is "normal".
        generator: draws the initial weights; None draws them from torch's global generator.

    Raises:
        InputError: rates and layers do not match in number, or a name is unknown.

    Example:
        >>> DropoutMLP(784, [256, 128], 10, dropout=[0.3, 0.5])(torch.zeros(2, 784)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        *,
        dropout: Sequence[float] | float = 0.5,
        input_dropout: float = 0.0,
        activation: str = "relu",
        init: str = "he",
        init_std: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> None:
        rates = [dropout] * len(hidden) if isinstance(dropout, int | float) else list(dropout)
        if len(rates) != len(hidden):
            raise InputError(
                f"got {len(rates)} dropout rates for {len(hidden)} hidden layers: "
                "give one rate, or one per layer"
            )
        if activation not in _ACTIVATIONS:
            raise InputError(f"activation {activation!r} is unknown: use {', '.join(_ACTIVATIONS)}")
        layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
        width = in_features
        for units, rate in zip(hidden, rates, strict=True):
            layers += [_linear(width, units, init, init_std, generator), _ACTIVATIONS[activation]()]
            layers += [nn.Dropout(rate)] if rate else []
            width = units
        super().__init__(*layers, _linear(width, out_features, init, init_std, generator))

    def thinned(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The forward of train mode, (B, D) to (B, C), its masks drawn from ``generator``.

        A mask of each row's own, as ``nn.Dropout`` draws it; without the global generator, and on
        the CPU in a third of the time. ``generator`` is of the device of ``x``.
        """
        for layer in self:
            x = dropout(x, layer.p, generator) if isinstance(layer, nn.Dropout) else layer(x)
        return x


def dropout(x: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Inverted dropout: each element is 0 with probability ``rate``, else divided by 1 - rate.

    The expectation of every element is the element itself, which is why eval mode can leave
    dropout out; its variance is x^2 rate / (1 - rate). Rate 0 is the identity, rate 1 gives zeros.
    """
    if rate == 0:
        return x
    kept = torch.rand(x.shape, generator=generator, device=x.device).ge_(rate)
    return x * (kept.div_(1 - rate) if rate < 1 else kept)


def build_network(
    recipe: NetworkRecipe,
    in_features: int,
    out_features: int,
    generator: torch.Generator | None = None,
) -> DropoutMLP:
    """The network that ``recipe`` describes, for D = in_features and C = out_features.

    Where the recipe learns the variance there are 2 C outputs: the means, then the logarithms of
    the variances.
    """
    return DropoutMLP(
        in_features,
        recipe.hidden,
        2 * out_features if recipe.variance == "learned" else out_features,
        dropout=recipe.rates,
        input_dropout=recipe.input_dropout,
        activation=recipe.activation,
        init=recipe.init,
        init_std=recipe.init_std,
        generator=generator,
    )


def with_spread(network: nn.Sequential, spread: float) -> nn.Sequential:
    """The same network, its dropout with ``spread`` times the variance; weights are shared.

    A mask of rate p has the variance p / (1 - p), so each rate becomes that of spread times the
    odds: s p / (1 - p + s p).
    """
    if spread == 1:
        return network
    other = copy.copy(network)
    other._modules = dict(network._modules)
    for name, layer in network.named_children():
        if isinstance(layer, nn.Dropout):
            other._modules[name] = nn.Dropout(spread * layer.p / (1 - layer.p + spread * layer.p))
    return other.train(network.training)


def _linear(
    in_features: int,
    out_features: int,
    init: str,
    init_std: float,
    generator: torch.Generator | None,
) -> nn.Linear:
    # Built without storage, for nn.Linear's own init would draw from torch's global generator.
    layer = nn.Linear(in_features, out_features, device="meta")
    layer.weight = nn.Parameter(torch.empty(out_features, in_features))
    layer.bias = nn.Parameter(torch.zeros(out_features))
    if init == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    elif init == "xavier":
        nn.init.xavier_uniform_(layer.weight, generator=generator)
    elif init == "normal":
        nn.init.normal_(layer.weight, std=init_std, generator=generator)
    else:
        raise InputError(f"init {init!r} is unknown: use he, xavier, normal")
    return layer
