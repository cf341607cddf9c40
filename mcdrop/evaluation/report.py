"""The report: which sections there are, what each says, and the figure it shows.

Knows evidence and numbers. Refuses to know how a chart is drawn, and files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.calibration import row_epistemic
from mcdrop.evaluation import charts
from mcdrop.evaluation.classes import answers
from mcdrop.evaluation.corruption import CORRUPTIONS
from mcdrop.evaluation.evidence import Evidence
from mcdrop.evaluation.extremes import extremes
from mcdrop.evaluation.sections import Section, Table, draw, numbers_table
from mcdrop.evaluation.tree import Tree
from mcdrop.evaluation.words import number
from mcdrop.metrics import ece
from mcdrop.predictions import ClassPredictions, ValuePredictions
from mcdrop.uncertainty import Regression

__all__ = ["sections"]

_MOST_NAMES = 30  # classes or targets that a chart has room for
_MOST_POINTS = 1500  # rows that a scatter has room for
_UNITS = {
    "rotation": "rotation [degrees]",
    "noise": "noise [std, share of the unit's range]",
    "occlusion": "occlusion [side of a gray square, share of the picture's]",
}


def sections(evidence: Evidence, tree: Tree) -> list[Section]:
    """All sections that these rows have something to say in."""
    own = _classes if isinstance(evidence.served, ClassPredictions) else _values
    found = [_scores(tree), *own(evidence), _coverage(tree), _passes(tree)]
    found += [_corruptions(tree)] if tree.get("corruption") else []
    return [*found, extremes(evidence), _about(evidence)]


def _scores(tree: Tree) -> Section:
    three = {name: tree[name] for name in ("deterministic", "mc", "served")}
    tables = [numbers_table(three), numbers_table({"served - deterministic": tree["difference"]})]
    for name, title in (("selective", "telling errors"), ("abstention", "abstention")):
        if name in tree:
            tables.append(numbers_table({title: tree[name]}))
    if "ood" in tree:
        tables.append(numbers_table({"out of distribution": tree["ood"]}))
    text = (
        "Without dropout; from plain passes; and as served, with the corrections of the model's "
        "card. NLL in nats; ECE over 15 bins of equal width, or of equal mass."
    )
    return Section("scores", "Scores", text, tables)


def _classes(evidence: Evidence) -> list[Section]:
    return [_reliability(evidence), _risk(evidence), _uncertainty(evidence)]


def _reliability(evidence: Evidence) -> Section:
    found, y = answers(evidence), evidence.rows.truth

    def paint(axes: Any) -> None:
        for ax, (name, p) in zip(axes, found.items(), strict=True):
            title = f"{name}, ECE {number(ece(p, y))}"
            charts.reliability(ax, p.max(1), p.argmax(1) == y, title)

    text = (
        "Points on the diagonal: of the answers given with probability .8, 80 % are right. Below "
        "it, the model claims too much; above it, too little. Bars: how many rows claim so much."
    )
    return Section("reliability", "Reliability", text, figure=draw(paint, 1, 3))


def _risk(evidence: Evidence) -> Section:
    found, y = answers(evidence), evidence.rows.truth
    curves = {
        name: (
            1 - (1 - np.square(p).sum(1)) / (1 - 1 / p.shape[1]),
            (p.argmax(1) != y).astype(float),
        )
        for name, p in found.items()
    }
    text = (
        "Rows are answered from the most confident on: how the error rate grows with their share."
    )
    return Section(
        "risk_coverage",
        "Risk and coverage",
        text,
        figure=draw(lambda axes: charts.risk_coverage(axes[0], curves)),
    )


def _uncertainty(evidence: Evidence) -> Section:
    served = evidence.served
    if not isinstance(served, ClassPredictions):
        raise TypeError("wanted the evidence of a classification")
    right = served.prediction == evidence.rows.truth
    groups: dict[str, list[Any]] = {"right": [served, right], "wrong": [served, ~right]}
    if evidence.strange_served is not None:
        strange = evidence.strange_served
        groups["out of distribution"] = [strange, np.ones(len(strange.mean), bool)]

    def paint(axes: Any) -> None:
        for ax, key in zip(axes, ("epistemic", "aleatoric", "total"), strict=True):
            values = {name: getattr(rows, key)[kept] for name, (rows, kept) in groups.items()}
            charts.histograms(ax, values, f"{key} uncertainty [nats]")

    text = (
        "Wrong answers should be more uncertain than right ones; strange rows more epistemically "
        "uncertain than both."
    )
    return Section("uncertainty", "Uncertainty", text, figure=draw(paint, 1, 3))


def _values(evidence: Evidence) -> list[Section]:
    served, y = evidence.served, evidence.rows.truth
    if not isinstance(served, ValuePredictions):
        raise TypeError("wanted the evidence of a regression")
    found = [_fit(evidence, served, y)]

    def paint(axes: Any) -> None:
        charts.quantiles(axes[0], served.mean, served.total, y)

    text = (
        "Of the truths, 30 % should lie below the predicted 30 % quantile, and so on: below the "
        "diagonal at high levels and above it at low ones, the predicted spread is too narrow."
    )
    found.append(Section("quantiles", "Quantile calibration", text, figure=draw(paint)))
    groups = {"own rows": row_epistemic(served)}
    if evidence.strange_served is not None:
        groups["out of distribution"] = row_epistemic(evidence.strange_served)
    label = "epistemic variance [share of the target's]"
    figure = draw(lambda axes: charts.histograms(axes[0], groups, label))
    words = "How much the passes disagree, row by row."
    return [*found, Section("uncertainty", "Uncertainty", words, figure=figure)]


def _fit(evidence: Evidence, served: ValuePredictions, y: NDArray[np.float64]) -> Section:
    few = slice(0, _MOST_POINTS)
    if evidence.x.shape[1] == 1 and isinstance(served, Regression):
        ends = np.array([served.lower[:, 0], served.upper[:, 0]])
        figure = draw(
            lambda axes: charts.certainty(
                axes[0], evidence.x[:, 0].astype(np.float64), y[:, 0], served, ends
            ),
            size=4.5,
        )
        return Section(
            "fit", "The fit", "Over the one feature, as the network sees it.", (), figure
        )
    targets = evidence.predictor.card.targets[:3]

    def paint(axes: Any) -> None:
        for c, (ax, name) in enumerate(zip(axes, targets, strict=True)):
            bands = served.mean[few, c], served.lower[few, c], served.upper[few, c]
            charts.predicted(ax, y[few, c], *bands).set_title(name, parse_math=False)

    text = f"Predicted against true, with intervals at level {served.level:g}."
    return Section("fit", "Predictions", text, figure=draw(paint, 1, len(targets), 4.5))


def _coverage(tree: Tree) -> Section:
    conformal = tree["conformal"]
    parts = conformal["classes" if "classes" in conformal else "targets"]
    tables = [numbers_table({f"level {conformal['level']:g}": conformal})]
    if "gaussian" in tree:
        tables.append(numbers_table({"gaussian 95 %": tree["gaussian"]}))
        tables += [_by_target(tree)] if len(parts) > 1 else []
    text = "How often the conformal set or interval holds the truth, on all rows and by part."
    shown = {name: part for name, part in parts.items() if part.n}
    if len(shown) > _MOST_NAMES:
        tables.append(numbers_table({"coverage": shown}))
        return Section("coverage", "Coverage", text, tables)
    figure = draw(
        lambda axes: charts.shares(axes[0], shown, conformal["level"], "coverage"),
        size=max(2.5, 0.9 + 0.26 * len(shown)),
    )
    return Section("coverage", "Coverage", text, tables, figure)


def _by_target(tree: Tree) -> Table:
    named = {f"level {tree['conformal']['level']:g}": "conformal", "gaussian 95 %": "gaussian"}
    columns = {
        f"{what}, {name}": tree[key][part]
        for name, key in named.items()
        for what, part in (("coverage", "targets"), ("width", "widths"))
    }
    return numbers_table(columns, "Of each target, in its own unit.")


def _passes(tree: Tree) -> Section:
    points = tree["t_curve"]
    labels = {
        "nll": "NLL [nats]",
        "ece": "ECE",
        "rmse": "RMSE",
        "ood_auroc": "OOD AUROC",
        "error": "mean distance from infinitely many",
    }
    keys = [key for key in labels if key in points[0]]

    def paint(axes: Any) -> None:
        for ax, key in zip(axes, keys, strict=True):
            charts.curve(ax, points, key, labels[key])

    columns = {f"T = {point['samples']}": point for point in points}
    text = (
        "The first passes of one draw: the answer of a smaller T is that of its first passes. "
        "Shaded: 95 % intervals over rows, which all T share. Take the T from which nothing gains."
    )
    tables = [numbers_table({name: columns[name] for name in list(columns)[-4:]})]
    return Section("t_curve", "How many passes", text, tables, draw(paint, 1, len(keys), 2.8))


def _corruptions(tree: Tree) -> Section:
    study = tree["corruption"]

    def paint(axes: Any) -> None:
        for ax, kind in zip(axes, CORRUPTIONS, strict=True):
            charts.corruption(ax, study[kind], _UNITS[kind])

    text = (
        "As pictures get worse, confidence should fall with accuracy, and epistemic uncertainty "
        "rise: the model notices."
    )
    return Section("corruption", "Worse and worse pictures", text, figure=draw(paint, 1, 3))


def _about(evidence: Evidence) -> Section:
    card = evidence.predictor.card
    strange = evidence.strange
    lines: Sequence[str] = (
        f"{card.name} version {card.version}, weights {card.weights_sha256[:12]}.",
        f"{len(evidence)} rows: {evidence.rows.source}.",
        f"{len(strange)} strange rows: {strange.source}." if strange is not None else "",
        f"T = {evidence.samples} passes, seed {evidence.seed}.",
        *(f"{note}." for note in card.calibration.notes),
    )
    return Section("about", "What was measured", " ".join(line for line in lines if line))
