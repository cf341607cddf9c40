"""Training: encoded rows in, a fitted network and its history out.

Knows devices, seeds, the unit of the targets, and how a broken-off training goes on. Refuses to
know sources of data and serving.
"""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mcdrop.augmentation import Augmentation
from mcdrop.checkpoint import read_checkpoint, write_checkpoint
from mcdrop.data.sources import Dataset, Split
from mcdrop.errors import InputError
from mcdrop.feed import Feed
from mcdrop.loop import Epoch, Run, ignore
from mcdrop.network import DropoutMLP, build_network
from mcdrop.objective import Objective, Targets
from mcdrop.recipe import Recipe

__all__ = ["Epoch", "Fitted", "choose_device", "fit", "ignore"]


@dataclass(frozen=True)
class Fitted:
    """A trained network, in eval mode on the CPU, and how it came about."""

    network: DropoutMLP
    history: tuple[Epoch, ...]
    best_epoch: int
    device: str

    @property
    def history_csv(self) -> str:
        """The history as CSV text, a line per epoch."""
        rows = [asdict(epoch) for epoch in self.history]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def choose_device(name: str = "auto") -> torch.device:
    """``name`` as a device; "auto" takes cuda, then mps, then cpu, whichever is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and torch.backends.mps.is_available():
            name = "mps"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used: {reason}; try 'cpu'") from None


def fit(
    recipe: Recipe,
    dataset: Dataset,
    *,
    device: str = "auto",
    on_step: Callable[[int, int], None] = ignore,
    on_epoch: Callable[[Epoch], None] = ignore,
    watch: Callable[[Epoch, nn.Module], None] = ignore,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Fitted:
    """Train the recipe's network on the dataset and keep the best epoch's weights.

    Minimizes what `mcdrop.objective.Objective` says, plus the recipe's penalties. Targets of a
    table are learned standardized (the standardization is folded into the last layer afterwards,
    so that the network answers in the target's own unit). Stops once the validation loss has not
    improved for ``patience`` epochs. Reproducible from ``recipe.seed`` on one device; torch's
    global generators are neither used nor touched.

    Args:
        recipe: what to train.
        dataset: encoded rows; ``train`` and ``validation`` are used, ``test`` is not.
        device: "auto", or a torch device name.
        on_step: called with (batches done, batches in all) within each epoch.
        on_epoch: called with each finished epoch.
        watch: called with each finished epoch and the network, which still has the gradients of
            the epoch's last step.
        checkpoint: file to write after each epoch; the caller removes it.
        resume: go on from ``checkpoint`` if it is there; on the CPU to the same weights, bit for
            bit, as without the break.

    Raises:
        TrainingError: the loss is no longer finite, or the checkpoint is of another training.
        InputError: the device cannot be used, a class weight names no class, a target's unit
            leaves no room for its spread, or rows to be augmented are no pictures.
    """
    place = choose_device(device)
    order = torch.Generator().manual_seed(recipe.seed)
    outputs = len(dataset.classes) or dataset.train.y.shape[1]
    network = build_network(recipe.network, dataset.train.x.shape[1], outputs, order)
    targets = None
    if not dataset.classes:
        targets = Targets(dataset.train.y, standardize=not recipe.data.synthetic)
    rows, truth = _tensors(dataset.validation, targets)
    run = Run(
        network.to(place),
        Feed(*_tensors(dataset.train, targets), place, recipe.training.batch_size),
        (rows.to(place), truth.to(place)),
        recipe,
        Objective(recipe, dataset.classes, dataset.train.y, place),
        order,
        torch.Generator(place).manual_seed(recipe.seed),
        Augmentation(recipe.augmentation, getattr(dataset.preprocessing, "shape", ())),
    )
    identity = {
        "recipe": recipe.model_dump(mode="json", exclude={"description", "sweep"}),
        "data": dataset.fingerprint,
        "device": place.type,
    }
    if checkpoint and resume and checkpoint.exists():
        run.restore(*read_checkpoint(checkpoint, identity))

    def finish(epoch: Epoch) -> None:
        if checkpoint:
            tensors, facts = run.snapshot()
            write_checkpoint(checkpoint, tensors, {"identity": identity, **facts})
        watch(epoch, network)
        on_epoch(epoch)

    with _tensor_cores(place):
        run.epochs(on_step, finish)
    network.load_state_dict(run.kept)
    network = network.cpu().eval().requires_grad_(False)
    if targets:
        targets.fold_into(network)
    return Fitted(network, tuple(run.history), run.kept_epoch, str(place))


@contextmanager
def _tensor_cores(device: torch.device) -> Iterator[None]:
    """Let a CUDA device round float32 products to TF32, which trains as well, while we train."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    if device.type == "cuda":
        matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def _tensors(split: Split, targets: Targets | None) -> tuple[Tensor, Tensor]:
    y = targets.encode(split.y) if targets else torch.from_numpy(split.y)
    return torch.from_numpy(split.x), y
