"""A training as TensorBoard shows it: scalars an epoch, and what each layer's weights are doing.

Knows the event file. Refuses to know training: it is handed epochs and a network. Needs the extra
``tensorboard``, imported only when a writer is opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from torch import nn

from mcdrop.errors import InputError
from mcdrop.loop import Epoch

__all__ = ["TensorBoard", "open_board"]

_DENSE = 30  # epochs with a histogram each, before they thin out


class TensorBoard:
    """A folder of TensorBoard events; called with each epoch and the network.

    Args:
        folder: where the events go; made if it is not there.

    Raises:
        InputError: the package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError(
                "TensorBoard is not installed: pip install 'mcdrop[tensorboard]'"
            ) from None
        self._writer = SummaryWriter(str(folder))

    def __call__(self, epoch: Epoch, network: nn.Module) -> None:
        """Write the epoch's scalars, and a histogram of each parameter and of its gradient.

        Histograms come each epoch at first and ever more seldom later: 160 in 2000 epochs.
        Gradients are those of the epoch's last step, after clipping.
        """
        write = self._writer
        for name, value in asdict(epoch).items():
            if name != "epoch" and value is not None:
                write.add_scalar(name, value, epoch.epoch)
        if epoch.epoch % (1 + epoch.epoch // _DENSE):
            return
        for name, parameter in network.named_parameters():
            layer, kind = name.rsplit(".", 1)
            values = parameter.detach()
            write.add_histogram(f"layer {layer}/{kind}", values, epoch.epoch)
            if parameter.grad is not None:
                tag = f"layer {layer}/{kind} gradient"
                write.add_histogram(tag, parameter.grad, epoch.epoch)

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()


@contextmanager
def open_board(folder: Path) -> Iterator[TensorBoard]:
    """A board in a new run of ``folder``, named by the time; closed in the end."""
    board = TensorBoard(folder / f"{datetime.now():%Y-%m-%d-%H%M%S-%f}")
    try:
        yield board
    finally:
        board.close()
