"""The most and the least certain rows: what the model finds easy, and what it stumbles over.

Knows how a row is shown to people. Refuses to know scores.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.evaluation import charts
from mcdrop.evaluation.evidence import Evidence
from mcdrop.evaluation.sections import Section, Table, draw
from mcdrop.evaluation.words import number
from mcdrop.predictions import ClassPredictions

__all__ = ["extremes"]

_PICTURES = 10
_ROWS = 6
_COLUMNS = 6  # of a row's own, in a table


def extremes(evidence: Evidence) -> Section:
    """The rows of the highest and of the lowest confidence: as pictures, or as a table."""
    confidence = evidence.served.confidence.reshape(len(evidence), -1).mean(1)
    order = np.argsort(-confidence, kind="stable")
    images = evidence.rows.images
    text = "The rows that the model is surest and least sure of, and whether it is right."
    if images is not None and isinstance(evidence.served, ClassPredictions):
        count = min(_PICTURES, len(order))
        shown = np.concatenate([order[:count], order[::-1][:count]])

        def paint(axes: Any) -> None:
            for ax, row in zip(axes, shown, strict=True):
                charts.picture(ax, images[row], "\n".join(_said(evidence, row, confidence)))
            axes[0].set_title("most certain", loc="left")
            axes[count].set_title("least certain", loc="left")

        return Section("extremes", "Certain and uncertain", text, figure=draw(paint, 2, count, 1.2))
    count = min(_ROWS, len(order))
    tables = [
        _table(evidence, order[:count], confidence, "most certain"),
        _table(evidence, order[::-1][:count], confidence, "least certain"),
    ]
    return Section("extremes", "Certain and uncertain", text, tables)


def _said(evidence: Evidence, row: int, confidence: NDArray[np.float64]) -> list[str]:
    """Truth, answer and confidence of a row."""
    served, truth, card = evidence.served, evidence.rows.truth, evidence.predictor.card
    if isinstance(served, ClassPredictions):
        true, answer = card.classes[truth[row]], card.classes[served.prediction[row]]
    else:
        true = ", ".join(number(v) for v in truth[row])
        pairs = zip(served.mean[row], served.std[row], strict=True)
        answer = ", ".join(f"{number(m)} ± {number(s)}" for m, s in pairs)
    return [f"is {true}", f"said {answer}", f"confidence {confidence[row]:.3f}"]


def _table(
    evidence: Evidence, rows: NDArray[np.int64], confidence: NDArray[np.float64], caption: str
) -> Table:
    raw = evidence.rows.raw
    if isinstance(raw, pa.Table):
        names = raw.column_names[:_COLUMNS]
        cells = [[str(raw[name][int(row)].as_py()) for name in names] for row in rows]
    else:
        flat = raw.reshape(len(raw), -1)[:, :_COLUMNS]
        names = [f"x{i}" for i in range(flat.shape[1])]
        cells = [[f"{value:.4g}" for value in flat[row]] for row in rows]
    body = [
        [f"row {row}", *(text.split(" ", 1)[1] for text in _said(evidence, row, confidence)), *own]
        for row, own in zip(rows.tolist(), cells, strict=True)
    ]
    return Table(["", "truth", "answer", "confidence", *names], body, caption)
