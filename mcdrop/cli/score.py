"""`mcdrop score`: a file of rows becomes a file of answers."""

from pathlib import Path
from typing import Annotated

import typer

from mcdrop.cli.console import progress_bar, say, stoppable
from mcdrop.cli.find import load_predictor
from mcdrop.cli.options import MODELS, Model, Repository, Samples, Seed, Version

__all__ = ["score"]


def score(
    source: Annotated[Path, typer.Argument(help="Rows: .csv, .parquet, or .npz with key x.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Answers: .parquet or .csv.")],
    root: Repository = MODELS,
    model: Model = None,
    version: Version = None,
    samples: Samples = None,
    seed: Seed = 0,
) -> None:
    """Score a file: a row of answers and uncertainties per row of input, in bounded memory."""
    from mcdrop.scoring import score as score_file

    predictor = load_predictor(root, model, version)
    with stoppable(), progress_bar() as progress:
        task = progress.add_task(f"scoring {source.name}", total=None)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        summary = score_file(
            predictor, source, output, samples=samples, seed=seed, progress=advance
        )
    say(
        f"{summary.rows} rows in {summary.seconds:.1f} s by {predictor.card.name} "
        f"version {predictor.card.version}: mean confidence {summary.mean_confidence:.3f}"
    )
    print(output)
