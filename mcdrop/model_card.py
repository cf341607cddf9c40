"""The model card for people: what ``card.json`` says, as ``CARD.md``.

Knows words and Markdown tables. Refuses to know how anything was measured. After Mitchell et al.
2019, "Model cards for model reporting".
"""

from mcdrop.adopted import Adopted
from mcdrop.calibration import Promise
from mcdrop.card import Card

__all__ = ["markdown"]

_LIMITS = (
    "It was measured on rows drawn like its training rows. Elsewhere, expect more errors: look at "
    "`novelty`, and measure with `mcdrop evaluate --data`.",
    "Epistemic uncertainty is that of dropout, a rough approximation of the posterior over "
    "weights; a row that is strange in a way no training row varied in may look familiar.",
    "Coverage is promised on average over rows (and classes, unless `conditional`), not for "
    "every kind of row.",
    "The temperature was fitted at the T passes stated here; far fewer passes blur less.",
)

_OF_TABLES = (
    "Of a value that training never met, a gap, a label or a number far out, the passes cannot "
    "tell: `unknown` names its column, and the row is as novel as can be and abstained from."
)


def markdown(card: Card) -> str:
    """The card as Markdown: data, recipe, splits, metrics with intervals, calibration, limits."""
    recipe = card.recipe.model_dump_json(indent=2, exclude_defaults=True)
    limits = (*_LIMITS, _OF_TABLES) if card.preprocessing.columns else _LIMITS
    parts = [
        f"# {card.name}\n\n{card.recipe.description or f'A {card.task}.'}",
        _about(card),
        "## Data\n\n" + _data(card),
        "## Scores\n\n" + _scores(card),
        "## Calibration\n\n" + _calibration(card),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits),
        "## How to cite\n\n" + _citation(card),
        f"## Recipe\n\n```json\n{recipe}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _about(card: Card) -> str:
    what = (
        f"{len(card.classes)} classes: {', '.join(card.classes[:30])}"
        if card.classes
        else f"targets: {', '.join(card.targets)}"
    )
    versions = ", ".join(f"{name} {version}" for name, version in card.libraries.items())
    rows = {
        "task": f"{card.task}, {what}",
        "input": f"{card.in_features} encoded features ({card.preprocessing.kind})",
        "passes T": str(card.samples),
        "created": f"{card.created:%Y-%m-%d}",
        "weights": f"SHA-256 `{card.weights_sha256}`",
        "made with": versions,
    }
    return _table(("", ""), list(rows.items()))


def _data(card: Card) -> str:
    recipe = card.recipe
    if isinstance(recipe, Adopted):
        source = "rows held out for a network that was trained elsewhere"
    else:
        source = recipe.data.train or recipe.data.source
    splits = _table(
        ("part", "rows", "used for"),
        [(part, f"{rows:,}", _USES.get(part, "")) for part, rows in card.rows.items() if rows],
    )
    return (
        f"Source: {source}; SHA-256 of the raw data `{card.data_fingerprint}`. Parts are drawn "
        f"from seed {recipe.seed}, keeping each class's share.\n\n{splits}"
        + "".join(f"\n\n{note[0].upper()}{note[1:]}." for note in card.notes)
    )


_USES = {
    "train": "learning; the preprocessing is fitted on these alone",
    "validation": "stopping; temperature and spread, or noise variance",
    "calibration": "sets, intervals, novelty, abstention",
    "test": "the scores below",
}


def _scores(card: Card) -> str:
    names = list(dict.fromkeys(name for scores in card.metrics.values() for name in scores))
    rows = [(name, *(_score(card, answer, name) for answer in card.metrics)) for name in names]
    return (
        f"On {card.rows.get('test', 0):,} test rows, with 95 % intervals (exact binomial for the "
        "accuracy, else bootstrap). `deterministic`: without dropout; `mc`: plain passes; "
        f"`served`: corrected.\n\n{_table(('', *card.metrics), rows)}"
    )


def _score(card: Card, answer: str, name: str) -> str:
    value = card.metrics[answer].get(name)
    if value is None:
        return ""
    ends = card.intervals.get(answer, {}).get(name)
    return f"{value:.4g}" + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")


def _calibration(card: Card) -> str:
    settings = card.recipe.calibration
    lines = [f"- {note}" for note in card.calibration.notes]
    lines += [f"- noise variance 1/tau: {value:.4g}" for value in card.calibration.noise]
    kind = settings.sets.upper() + " sets" if card.classes else f"{settings.interval} intervals"
    each = ", for each class" if card.classes and settings.conditional else ""
    lines.append(f"- split conformal {kind} at level {settings.level:g}{each}")
    text = "\n".join(lines)
    if not card.calibration.promises:
        return text
    rows = [_promise(promise) for promise in card.calibration.promises]
    table = _table(("risk asked", "answered where confidence >=", "answered", "error bound"), rows)
    return f"{text}\n\nAbstention (bounds hold with probability 90 %):\n\n{table}"


def _promise(promise: Promise) -> tuple[str, ...]:
    if promise.threshold is None or promise.bound is None:
        return f"{promise.risk:g}", "–", "nothing: too few calibration rows prove it", "–"
    return (
        f"{promise.risk:g}",
        f"{promise.threshold:.4f}",
        f"{promise.answered:.1%}",
        f"{promise.bound:.4f}",
    )


def _citation(card: Card) -> str:
    return (
        f"Name the model, its weights' SHA-256 (`{card.weights_sha256[:12]}...`) and mcdrop "
        f'{card.libraries.get("mcdrop", "")}. The method: Gal & Ghahramani 2016, "Dropout as a '
        'Bayesian approximation", arXiv:1506.02142.'
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
