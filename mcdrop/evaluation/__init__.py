"""The report that proves it: what a model's uncertainty is worth on rows it has not seen.

    rows        where the rows come from        tree       numbers by name, with intervals
    evidence    all answers to them             words      what the numbers say, in sentences
    classes     scores of a classification      charts     figures on axes
    values      scores of a regression          sections   parts of a page
    tcurve      how answers depend on T         extremes   the most and the least certain rows
    corruption  worse and worse pictures        report     which sections there are

Knows the order of the steps and what is written. Refuses to know terminals and HTTP.
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcdrop.errors import InputError
from mcdrop.evaluation import corruption, tcurve
from mcdrop.evaluation.classes import class_numbers
from mcdrop.evaluation.evidence import Evidence, gather
from mcdrop.evaluation.report import sections
from mcdrop.evaluation.rows import Rows, labeled_rows, own_test_rows, strange_rows
from mcdrop.evaluation.sections import html
from mcdrop.evaluation.tree import Tree, as_json
from mcdrop.evaluation.values import value_numbers
from mcdrop.evaluation.words import verdicts
from mcdrop.predictor import Predictor

__all__ = ["Rows", "evaluate", "labeled_rows", "own_test_rows", "strange_rows"]


def evaluate(
    predictor: Predictor,
    rows: Rows,
    out: Path,
    *,
    strange: Rows | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a model and write ``report.html``, its figures and ``metrics.json`` into ``out``.

    Every file is complete or not there; ``metrics.json`` comes last. The page needs neither
    network nor script.

    Args:
        predictor: the model.
        rows: with truth; see `labeled_rows` and `own_test_rows`.
        out: folder to write to, made if need be.
        strange: rows the model was not made for, see `strange_rows`; None leaves novelty out.
        samples: T; None takes the card's number.
        seed: of the passes.

    Returns:
        What ``metrics.json`` holds: ``n``, the scores of ``deterministic``, ``mc`` and ``served``
        (classification: ``accuracy``, ``nll``, ``brier``, ``ece`` and more; regression: ``rmse``,
        and beside it ``nll``, ``crps`` and more; of several targets each, ``rmse_<target>``),
        ``conformal``, ``t_curve`` and so on; and ``intervals`` of the same shape.

    Raises:
        InputError: rows do not fit the model, an argument is out of bounds, matplotlib is not
            installed, or ``out`` cannot be written.
    """
    _write(out, {})  # before anything is computed in vain
    evidence = gather(predictor, rows, strange, samples, seed)
    tree = _numbers(evidence)
    found = as_json(tree)
    card = predictor.card
    parts = sections(evidence, tree)
    page = html(
        f"{card.name} version {card.version}",
        f"A {card.task} on {len(rows):,} rows ({rows.source}), T = {evidence.samples} passes.",
        found["verdict"],
        parts,
    )
    pictures = {f"figures/{part.name}.png": part.figure for part in parts if part.figure}
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    _write(out, {**pictures, "report.html": page.encode(), "metrics.json": text.encode()})
    return found


def _numbers(evidence: Evidence) -> Tree:
    card = evidence.predictor.card
    tree: dict[str, Any] = {
        "model": {"name": card.name, "version": card.version, "weights": card.weights_sha256},
        "rows": evidence.rows.source,
        "n": len(evidence),
        "samples": evidence.samples,
        "seed": evidence.seed,
        **(class_numbers if card.classes else value_numbers)(evidence),
        "t_curve": tcurve.measure(evidence),
        "corruption": corruption.study(evidence),
    }
    return {**tree, "verdict": verdicts(tree)}


def _write(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write files in order, each beside its place first."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            place = out / name
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
            try:
                part.write_bytes(content)
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"the report cannot be written to {out}: {error}") from None
