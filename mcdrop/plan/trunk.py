"""Whether a trunk of modules that nobody knows draws random numbers: it is tried."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mcdrop.errors import NetworkError
from mcdrop.plan.layout import Layout

__all__ = ["try_trunk"]


class _RandomNumbersError(Exception):
    """A module drew random numbers."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Stops at the first operation that draws random numbers."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        settings = [arg for arg in args if isinstance(arg, (bool, float))]
        idle = not all(settings)  # a dropout of rate 0, or one that is told not to train
        if torch.Tag.nondeterministic_seeded in func.tags and not idle:
            raise _RandomNumbersError(str(func))
        return func(*args, **(kwargs or {}))


def try_trunk(layout: Layout, rows: Tensor) -> None:
    """Try the trunk's unknown modules in train mode, where hidden dropouts would draw.

    Args:
        layout: the network; copies of its modules are tried, it stays as it is.
        rows: (B, ...), rows as the network takes them, B >= 2 for the sake of batch normalization.

    Raises:
        NetworkError: one of them draws random numbers; the message names it.
    """
    with torch.inference_mode(False), torch.no_grad():
        state = rows.clone()
        for i, module in enumerate(layout.trunk):
            try:
                if i in layout.unknown:
                    with _Watch():  # type: ignore[no-untyped-call]
                        copy.deepcopy(module).train()(state)
            except _RandomNumbersError as error:
                raise NetworkError(
                    f"{layout.unknown[i]} is a {type(module).__name__} that draws random numbers "
                    f"in train mode ({error}): its dropout cannot be seen; make its dropouts "
                    "modules of the nn.Sequential, or set their rate to 0"
                ) from None
            state = module(state)
