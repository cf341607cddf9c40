"""`mcdrop select`: the rows of a pool that are most worth a label."""

from typing import Annotated, Literal

import typer

from mcdrop.cli.console import progress_bar, say, stoppable
from mcdrop.cli.find import load_predictor
from mcdrop.cli.options import MODELS, Model, Repository, Samples, Seed, Version
from mcdrop.later import staying

__all__ = ["select"]


def select(
    source: Annotated[
        str, typer.Argument(help="Rows without labels, in any form that `mcdrop score` reads.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="The rows chosen: .parquet, .csv, .jsonl, .arrow.")
    ],
    k: Annotated[int, typer.Option("--k", min=1, help="How many rows to choose.")] = 100,
    by: Annotated[
        Literal["bald", "entropy", "variance", "batchbald"] | None,
        typer.Option(
            "--by",
            help="bald: epistemic uncertainty, the default of classes; entropy: total; variance: "
            "epistemic, of a regression always; batchbald: rows that tell much together.",
        ),
    ] = None,
    root: Repository = MODELS,
    model: Model = None,
    version: Version = None,
    samples: Samples = None,
    seed: Seed = 0,
) -> None:
    """Choose the rows most worth a label, the best first, by what the model does not know."""
    with staying():
        from mcdrop.selection import criterion
        from mcdrop.selection import select as select_rows

    predictor = load_predictor(root, model, version)
    by = by or criterion(predictor)
    with stoppable(), progress_bar() as progress:
        task = progress.add_task(f"looking at {source}", total=None)
        chosen = select_rows(
            predictor,
            source,
            output,
            k=k,
            by=by,
            samples=samples,
            seed=seed,
            progress=lambda done: progress.update(task, completed=done),
        )
    say(f"{chosen} rows by {by}, {predictor.card.name} version {predictor.card.version}")
    print(output)
