"""`mcdrop score`: rows of any number become a row of answers each."""

import math
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import ProgressColumn, Task
from rich.text import Text

from mcdrop.cli.console import progress_bar, say, stoppable
from mcdrop.cli.find import load_predictor
from mcdrop.cli.options import (
    MODELS,
    AutoSamples,
    Model,
    Repository,
    Seed,
    Tolerance,
    Version,
)
from mcdrop.later import staying

if TYPE_CHECKING:
    from mcdrop.calibration import Reference
    from mcdrop.scoring import Summary

__all__ = ["score"]

_WIDTH = 40  # characters of the longest bar of a histogram

Device = Annotated[
    str, typer.Option("--device", help="Where the network runs; other devices round otherwise.")
]


def score(
    source: Annotated[
        str,
        typer.Argument(
            help="Rows: a file, folder, glob or URL of .csv, .parquet, .arrow, .jsonl, .npy, .npz "
            "(key x) or pictures; - for standard input."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="Answers: .parquet, .csv, .jsonl or .arrow; or a folder."
        ),
    ],
    root: Repository = MODELS,
    model: Model = None,
    version: Version = None,
    samples: AutoSamples = None,
    tolerance: Tolerance = None,
    seed: Seed = 0,
    level: Annotated[
        float | None, typer.Option("--level", help="Coverage of sets and intervals.")
    ] = None,
    risk: Annotated[
        float | None, typer.Option("--risk", help="Error rate among rows not abstained from.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            help="Column to carry through, repeatable; '*' for all, _file and _row for the place.",
        ),
    ] = None,
    mc_error: Annotated[
        bool, typer.Option("--mc-error", help="Add the Monte Carlo standard errors.")
    ] = False,
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option("--on-error", help="At a bad row: stop, or set it aside with its reason."),
    ] = "stop",
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Write only so many rows, the highest.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Column that --top goes by; epistemic, of all targets, by default."
        ),
    ] = None,
    kind: Annotated[
        Literal["parquet", "csv", "jsonl", "arrow"] | None,
        typer.Option("--format", help="Of the files of a folder; parquet by default."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes here, or actors on Ray.")
    ] = 1,
    on: Annotated[
        Literal["here", "ray"], typer.Option("--on", help="This machine, or a Ray cluster.")
    ] = "here",
    device: Device = "cpu",
) -> None:
    """Score rows of any number, each exactly once: killed and started again, it goes on."""
    with staying():
        from mcdrop.scoring import score as score_rows
        from mcdrop.training import choose_device

    predictor = load_predictor(root, model, version)
    predictor.network.to(choose_device(device))
    stopped = "stopped: the same command goes on from what is done"
    with stoppable(stopped), progress_bar(_Rate()) as progress:
        task = progress.add_task(f"scoring {source}", total=None)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        summary = score_rows(
            predictor,
            source,
            output,
            samples=samples,
            tolerance=tolerance,
            seed=seed,
            level=level,
            risk=risk,
            keep=keep or (),
            mc_error=mc_error,
            on_error=on_error,
            top=top,
            by=by,
            format=kind,
            workers=workers,
            on=on,
            progress=advance,
        )
    _tell(summary, f"{predictor.card.name} version {predictor.card.version}")
    if summary.abstaining is not None:
        _tell_unproven(predictor.reference, risk)
    print(output)


def _tell_unproven(reference: "Reference", risk: float | None) -> None:
    """Say why every row abstains, where calibration rows prove the risk at no confidence."""
    risk = reference.recipe.risk if risk is None else risk
    if math.isinf(reference.threshold(risk)):
        say(
            f"every row abstains: {len(reference.epistemic)} calibration rows prove no error rate "
            f"within {risk:g}: ask for a higher --risk, or hold out more rows"
        )


def _tell(summary: "Summary", model: str) -> None:
    _histogram(summary)
    shares = {
        "mean confidence": summary.mean_confidence,
        "agree with the deterministic answer": summary.agreeing,
        "abstain": summary.abstaining,
    }
    say("  ".join(f"{name} {value:.3f}" for name, value in shares.items() if value is not None))
    if summary.unknown:
        say(f"{summary.unknown} rows hold what training never met: see the column unknown")
    if drift := summary.drift:
        say(
            f"epistemic uncertainty against {drift.reference_rows} calibration rows: "
            f"Kolmogorov-Smirnov distance {drift.statistic:.3f}, p {drift.p_value:.2g}"
        )
    rows = summary.rows + summary.rejected
    goes_on = f", {summary.resumed} of them before" if summary.resumed else ""
    say(f"{rows} rows by {model} in {summary.seconds:.1f} s{goes_on}")
    aside = f" ({summary.side})" if summary.side else ""
    say(f"{rows} rows in = {summary.rows} answered + {summary.rejected} rejected{aside}")
    if summary.written < summary.rows:
        say(f"{summary.written} of them written")


def _histogram(summary: "Summary") -> None:
    counts = summary.confidences.tolist()
    greatest = max(*counts, 1)
    say("confidence")
    for i, count in enumerate(counts):
        bar = "█" * round(_WIDTH * count / greatest)
        say(f"{i / len(counts):5.2f} {bar or '▏' * bool(count)} {count}")


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")
