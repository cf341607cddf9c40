"""The command line: train, serve, score, predict, models.

Knows arguments, progress bars and tables. Refuses to know how anything is done: each command is a
few calls into the library. Imports the library, and the service, only when a command needs them.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mcdrop.errors import InputError, McdropError, RepositoryError
from mcdrop.recipe import SAMPLES_LIMIT, load_recipe

if TYPE_CHECKING:
    from mcdrop.predictor import Predictor
    from mcdrop.search import Trial
    from mcdrop.training import Epoch

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train dropout networks and serve them so that every answer says how far it can be "
    "trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console(stderr=True, highlight=False)

Repository = Annotated[
    Path, typer.Option("--repository", help="The model repository: a folder per model.")
]
Model = Annotated[
    str | None, typer.Option("--model", help="Model to use; may be left out if there is only one.")
]
Version = Annotated[
    int | None, typer.Option("--version", min=1, help="Version to use; the latest by default.")
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        min=1,
        max=SAMPLES_LIMIT,
        help="Stochastic passes T; the model's own number by default.",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Draws the T thinned networks; same seed, same answer.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of the data; torchvision's sets download without."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto (cuda, then mps, then cpu), or a torch device.")
]
Sampler = Literal["tpe", "random", "grid"]
MODELS = Path("models")


@app.command()
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
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Write scalars and histograms to <repository>/<name>/tensorboard."
        ),
    ] = False,
) -> None:
    """Train a recipe and write the next version of its model."""
    from mcdrop import pipeline, repository
    from mcdrop.checkpoint import finished_epochs
    from mcdrop.loop import ignore
    from mcdrop.tensorboard import open_board
    from mcdrop.training import choose_device

    path, model = _find_recipe(recipe, root)
    name = name or model
    plan = load_recipe(path)
    place = choose_device(device)
    reason = "chosen automatically" if device == "auto" else "as asked"
    _say(f"training {name} on {place} ({reason}), at most {plan.training.epochs} epochs")
    done = finished_epochs(repository.checkpoint_path(root, name)) if resume else 0
    if resume:
        _say(f"going on after epoch {done}" if done else "nothing to go on from: from epoch 1")
    board = open_board(root / name / "tensorboard") if tensorboard else nullcontext(ignore)
    stopped = "stopped: the same command with --resume goes on after the last finished epoch"
    with _stoppable(stopped), board as watch, _progress() as progress:
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
    card = repository.read_card(folder)
    for answer, scores in card.metrics.items():
        text = "  ".join(f"{score} {value:.4f}" for score, value in scores.items())
        _say(f"test ({card.rows['test']} rows), {answer}: {text}")
    print(folder)


@app.command()
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
    """Train recipes side by side, and every setting of their [sweep]: one table, one figure."""
    from mcdrop import compare as comparing
    from mcdrop.loop import ignore
    from mcdrop.tensorboard import open_board

    found = [(name, load_recipe(path), path.parent) for path, name in _found(recipes, root)]
    trained = []
    with _stoppable(), _progress() as progress:
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


@app.command()
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
    from mcdrop import search as searching

    path, name = _find_recipe(recipe, root)
    plan = load_recipe(path)
    ranges = searching.parse_ranges(tune or searching.RANGES)
    with suppress(ImportError):  # without Optuna the search itself says what to install
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
    stopped = f"stopped: the same command goes on with the study in {out}"
    with _stoppable(stopped), _progress() as progress:
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


@app.command()
def serve(
    root: Repository = MODELS,
    host: Annotated[str, typer.Option("--host", help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1024, max=65535, help="Port to bind.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Inference processes.")] = 1,
) -> None:
    """Serve the repository over HTTP; /docs describes the API."""
    from mcdrop_service import serve as run_server

    run_server(root, host=host, port=port, workers=workers)


@app.command()
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

    predictor = _load(root, model, version)
    with _stoppable(), _progress() as progress:
        task = progress.add_task(f"scoring {source.name}", total=None)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        summary = score_file(
            predictor, source, output, samples=samples, seed=seed, progress=advance
        )
    _say(
        f"{summary.rows} rows in {summary.seconds:.1f} s by {predictor.card.name} "
        f"version {predictor.card.version}: mean confidence {summary.mean_confidence:.3f}"
    )
    print(output)


@app.command()
def predict(
    row: Annotated[
        str, typer.Argument(help="One row as JSON: an array, or an object of columns; - for stdin.")
    ],
    root: Repository = MODELS,
    model: Model = None,
    version: Version = None,
    samples: Samples = None,
    seed: Seed = 0,
) -> None:
    """Answer for one row, and say how far to trust the answer."""
    from mcdrop.scoring import columns

    predictor = _load(root, model, version)
    answer = predictor.predict([_parse_row(row)], samples=samples, seed=seed)
    card = predictor.card
    title = f"{card.name} version {card.version}, {answer.samples} passes, seed {seed}"
    table = Table(title=title, box=SIMPLE)
    table.add_column("output")
    table.add_column("value", justify="right")
    for column, values in columns(answer, card).items():
        value = values[0].as_py() if column == "prediction_set" else values[0]
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(escape(column), escape(text))
    _show(table)


@app.command()
def models(root: Repository = MODELS) -> None:
    """List the models of the repository and their versions."""
    from mcdrop import repository

    cards = []
    for entry in repository.list_models(root):
        for version in entry.versions:
            try:
                cards.append(repository.read_card(root / entry.name / str(version)))
            except RepositoryError as error:
                _say(f"left out: {error}")
    scores = list(
        dict.fromkeys(score for card in cards for score in card.metrics.get("served", {}))
    )
    title = escape(f"models in {root}: test scores of the served answer")
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("model", "version", "created", *scores):
        table.add_column(column, no_wrap=True)
    for card in cards:
        values = [card.metrics.get("served", {}).get(score) for score in scores]
        table.add_row(
            card.name,
            str(card.version),
            f"{card.created:%Y-%m-%d}",
            *("" if value is None else f"{value:.4f}" for value in values),
        )
    if not table.row_count:
        _say(f"no trained model in {root}: try `mcdrop train digits`")
        return
    _show(table)


def main() -> None:
    """Run the command line; known errors become one line and exit code 1."""
    try:
        app()
    except McdropError as error:
        _console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


def _say(text: str) -> None:
    _console.print(text, markup=False, soft_wrap=True)  # names of files may look like markup


def _show(table: Table) -> None:
    """Print to standard output, where nothing is cut off unless a terminal is too narrow."""
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


@contextmanager
def _stoppable(message: str = "stopped; nothing was written") -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        _say(message)
        raise typer.Exit(130) from None


def _found(recipes: list[str], root: Path) -> list[tuple[Path, str]]:
    return [_find_recipe(recipe, root) for recipe in recipes]


def _find_recipe(recipe: str, root: Path) -> tuple[Path, str]:
    """The recipe's path and the model it names: a file, a folder, a model, a bundled recipe."""
    path = Path(recipe)
    if path.suffix == ".toml":
        path = path.resolve()
        return path, path.parent.name if path.name == "recipe.toml" else path.stem
    own = (path if (path / "recipe.toml").is_file() else root / recipe) / "recipe.toml"
    name = own.parent.resolve().name
    package = Path(__file__).parent
    # In the wheel, recipes lie in the package; in a checkout, in the model repository beside it.
    shipped = (package / f"recipes/{name}.toml", package.parent / f"models/{name}/recipe.toml")
    return next((p for p in (own, *shipped) if p.is_file()), own), name


def _load(root: Path, model: str | None, version: int | None) -> "Predictor":
    from mcdrop import repository
    from mcdrop.predictor import load

    return load(repository.resolve(root, model, version))


def _parse_row(text: str) -> Any:
    text = sys.stdin.read() if text == "-" else text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the row is not JSON ({error}): give [numbers] or {{column: value}}"
        ) from None


def _epoch_line(epoch: "Epoch") -> str:
    hits = epoch.validation_accuracy
    accuracy = "" if hits is None else f"  accuracy {hits:.4f}"
    return (
        f"epoch {epoch.epoch:3d}  loss {epoch.train_loss:.4f}  validation "
        f"{epoch.validation_loss:.4f}{accuracy}  |w| {epoch.weight_norm:.2f}  {epoch.seconds:.1f} s"
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_console,
        transient=True,
    )
