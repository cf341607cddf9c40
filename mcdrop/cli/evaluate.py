"""`mcdrop evaluate`: the report that says what a model's uncertainty is worth."""

from pathlib import Path
from typing import Annotated

import typer

from mcdrop.cli.console import console, say, stoppable
from mcdrop.cli.options import MODELS, DataRoot, Repository, Samples, Seed, Version
from mcdrop.later import staying

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="A model of the repository, or its folder.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of report.html, figures and metrics.json.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Labeled rows: .npz with x and y, or .csv or .parquet with the target; the "
            "recipe's own test part by default.",
        ),
    ] = None,
    ood: Annotated[
        str | None,
        typer.Option(
            "--ood", help="Rows out of distribution: a file, or digits, mnist or fashion-mnist."
        ),
    ] = None,
    root: Repository = MODELS,
    version: Version = None,
    data_root: DataRoot = None,
    samples: Samples = None,
    seed: Seed = 0,
) -> None:
    """Measure a model: calibration, coverage, novelty, abstention; one page and its numbers."""
    with staying():
        from mcdrop import evaluation, repository
        from mcdrop.predictor import load

    path = Path(model)
    folder = repository.locate(path) if path.is_dir() else repository.resolve(root, model, version)
    predictor = load(folder)
    card = predictor.card
    bases = (folder.parent, Path())
    with stoppable(), console.status(f"evaluating {card.name} version {card.version}"):
        rows = (
            evaluation.own_test_rows(card, data_root, bases)
            if data is None
            else evaluation.labeled_rows(card, data)
        )
        strange = evaluation.strange_rows(card, ood, data_root) if ood else None
        found = evaluation.evaluate(
            predictor, rows, out, strange=strange, samples=samples, seed=seed
        )
    for line in found["verdict"]:
        say(line)
    print(out / "report.html")
