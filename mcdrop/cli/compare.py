"""`mcdrop compare`: recipes, and the settings of their sweeps, side by side."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from mcdrop.cli.console import progress_bar, stoppable
from mcdrop.cli.find import find_recipe
from mcdrop.cli.options import MODELS, DataRoot, Device, Repository
from mcdrop.later import staying
from mcdrop.recipe import load_recipe

__all__ = ["compare"]


def compare(
    recipes: Annotated[list[str], typer.Argument(help="Recipes, named as for `mcdrop train`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of compare.json, .md and .png.")],
    root: Repository = MODELS,
    data_root: DataRoot = None,
    device: Device = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write scalars and histograms to OUT/tensorboard.")
    ] = False,
) -> None:
    """Train recipes side by side, and every setting of their `sweep`: one table, one figure."""
    with staying():
        from mcdrop import compare as comparing
        from mcdrop.loop import ignore
        from mcdrop.tensorboard import open_board

    named = [find_recipe(recipe, root) for recipe in recipes]
    found = [(name, load_recipe(path), path.parent) for path, name in named]
    trained = []
    with stoppable(), progress_bar() as progress:
        for plan in progress.track(comparing.plans(found), description="training"):
            board = open_board(out / "tensorboard" / plan.label) if tensorboard else None
            with board or nullcontext(ignore) as watch:
                one = comparing.compare(plan, data_root=data_root, device=device, watch=watch)
            trained.append(one)
            losses = f"train {one.row['train_loss']:.4g}, test {one.row['test_loss']:.4g}"
            progress.console.print(f"{plan.label}: loss {losses}, |w| {one.row['weight_norm']:.4g}")
    comparing.write(trained, out)
    print(comparing.table([one.row for one in trained]))
    print(out)
