"""`mcdrop models`: what the repository holds."""

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from mcdrop.cli.console import say, show
from mcdrop.cli.options import MODELS, Repository
from mcdrop.errors import RepositoryError

__all__ = ["models"]


def models(root: Repository = MODELS) -> None:
    """List the models of the repository and their versions."""
    from mcdrop import repository

    cards = []
    for entry in repository.list_models(root):
        for version in entry.versions:
            try:
                cards.append(repository.read_card(root / entry.name / str(version)))
            except RepositoryError as error:
                say(f"left out: {error}")
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
        say(f"no trained model in {root}: try `mcdrop train digits`")
        return
    show(table)
