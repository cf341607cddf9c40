"""`mcdrop train`: a recipe becomes the next version of its model."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from mcdrop.cli.console import progress_bar, say, stoppable
from mcdrop.cli.find import find_recipe
from mcdrop.cli.options import MODELS, DataRoot, Device, Repository
from mcdrop.later import staying
from mcdrop.recipe import load_recipe

if TYPE_CHECKING:
    from mcdrop.card import Card
    from mcdrop.training import Epoch

__all__ = ["train"]


def train(
    recipe: Annotated[
        str, typer.Argument(help="A model of the repository that has a recipe.toml, or a path.")
    ],
    root: Repository = MODELS,
    name: Annotated[
        str | None, typer.Option("--name", help="Model to write; the recipe's folder by default.")
    ] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last epoch of a broken-off training.")
    ] = False,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing where the model has a version.")
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Write scalars and histograms to <repository>/<name>/tensorboard."
        ),
    ] = False,
) -> None:
    """Train a recipe and write the next version of its model."""
    with staying():
        from mcdrop import pipeline, repository
        from mcdrop.checkpoint import finished_epochs
        from mcdrop.loop import ignore
        from mcdrop.tensorboard import open_board
        from mcdrop.training import choose_device

    path, model = find_recipe(recipe, root)
    name = name or model
    there = {entry.name: entry.versions for entry in repository.list_models(root)}.get(name)
    newest = root / name / str(there[-1]) if there else None
    if if_missing and newest:
        say(f"{name} has version {newest.name}: nothing to train")
        print(newest)
        return
    plan = load_recipe(path)
    done = finished_epochs(repository.checkpoint_path(root, name)) if resume else 0
    if resume and newest and not done and repository.read_card(newest).recipe == plan:
        say(f"{name} version {newest.name} is finished; without --resume another one is trained")
        print(newest)
        return
    place = choose_device(device)
    reason = "chosen automatically" if device == "auto" else "as asked"
    say(f"training {name} on {place} ({reason}), at most {plan.training.epochs} epochs")
    if resume:
        say(f"going on after epoch {done}" if done else "nothing to go on from: from epoch 1")
    board = open_board(root / name / "tensorboard") if tensorboard else nullcontext(ignore)
    stopped = "stopped: the same command with --resume goes on after the last finished epoch"
    with stoppable(stopped), board as watch, progress_bar() as progress:
        task = progress.add_task(f"epoch {done + 1}")

        def on_step(step: int, steps: int) -> None:
            progress.update(task, completed=step, total=steps)

        def on_epoch(epoch: "Epoch") -> None:
            progress.console.print(_epoch_line(epoch))
            progress.update(task, description=f"epoch {epoch.epoch + 1}", completed=0)

        folder = pipeline.train(
            plan,
            name,
            root,
            data_root=data_root,
            base=path.parent,
            device=str(place),
            on_step=on_step,
            on_epoch=on_epoch,
            watch=watch,
            resume=resume,
        )
    _tell(repository.read_card(folder))
    print(folder)


def _tell(card: "Card") -> None:
    """What the test said, and what the rows and the calibration have to add."""
    for answer, scores in card.metrics.items():
        text = "  ".join(f"{score} {value:.4f}" for score, value in scores.items())
        say(f"test ({card.rows['test']} rows), {answer}: {text}")
    for note in (*card.notes, *card.calibration.notes):
        say(note)


def _epoch_line(epoch: "Epoch") -> str:
    hits = epoch.validation_accuracy
    accuracy = "" if hits is None else f"  accuracy {hits:.4f}"
    return (
        f"epoch {epoch.epoch:3d}  loss {epoch.train_loss:.4f}  validation "
        f"{epoch.validation_loss:.4f}{accuracy}  |w| {epoch.weight_norm:.2f}  {epoch.seconds:.1f} s"
    )
