"""`mcdrop search`: a recipe is tuned."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mcdrop.cli.console import progress_bar, stoppable
from mcdrop.cli.find import find_recipe
from mcdrop.cli.options import MODELS, DataRoot, Device, Repository
from mcdrop.later import staying
from mcdrop.recipe import load_recipe

if TYPE_CHECKING:
    from mcdrop.search import Trial

__all__ = ["search"]

Sampler = Literal["tpe", "random", "grid"]


def search(
    recipe: Annotated[str, typer.Argument(help="What to tune, named as for `mcdrop train`.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the study: study.db, recipe.toml, trials.csv.")
    ],
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Finished trials the study is to have in all.")
    ] = 50,
    sampler: Annotated[
        Sampler, typer.Option("--sampler", help="How values are chosen; a grid has three a range.")
    ] = "tpe",
    tune: Annotated[
        list[str] | None,
        typer.Option(
            "--tune",
            help="What to tune, repeatable: weight_decay, dropout, input_dropout, width, depth or "
            "lr, each with bounds if wanted, as lr=1e-4:1e-2; everything by default.",
        ),
    ] = None,
    root: Repository = MODELS,
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Tune a recipe by the validation NLL of its MC answer; processes share and resume a study."""
    with staying():
        from mcdrop import search as searching

    path, name = find_recipe(recipe, root)
    plan = load_recipe(path)
    ranges = searching.parse_ranges(tune or searching.RANGES)
    with suppress(ImportError):  # without Optuna the search itself says what to install
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
    stopped = f"stopped: the same command goes on with the study in {out}"
    with stoppable(stopped), progress_bar() as progress:
        task = progress.add_task(f"tuning {name}", total=trials)

        def on_trial(trial: "Trial") -> None:
            progress.update(task, completed=trial.finished)
            values = (trial.value, trial.best)
            value, best = ("-" if v is None else f"{v:.4f}" for v in values)
            progress.console.print(f"trial {trial.number}: {trial.state}, nll {value}, best {best}")

        winner = searching.search(
            plan,
            out,
            trials=trials,
            sampler=sampler,
            ranges=ranges,
            data_root=data_root,
            base=path.parent,
            device=device,
            on_trial=on_trial,
        )
    print(winner)
