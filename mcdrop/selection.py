"""Active learning: the rows of a pool that are most worth a label.

Knows criteria, and how the best of many rows are found without holding them all. Refuses to know
HTTP and how rows are read.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.batchbald import batch_bald
from mcdrop.calibration import row_epistemic
from mcdrop.data.preprocessing import Inputs
from mcdrop.errors import InputError
from mcdrop.predictor import Predictor
from mcdrop.scoring import columns
from mcdrop.scoring.places import check_apart, find
from mcdrop.scoring.rows import FILE, ROW
from mcdrop.scoring.select import ALL
from mcdrop.scoring.sources import Sources
from mcdrop.scoring.writing import Output, check_output
from mcdrop.uncertainty import Classification, Regression

__all__ = ["CRITERIA", "Criterion", "criterion", "select"]

Criterion = Literal["bald", "entropy", "variance", "batchbald"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)

SCORE = "_score"
"""Column of what a row was chosen for."""
_NAMELESS = ("npy", "npz", "image")  # kinds of files that have no columns
_CANDIDATES = 10  # times k rows, those of greatest BALD, that BatchBALD chooses from
_FEWEST = 1000  # candidates at least

Statistics = Classification | Regression
Floats = NDArray[np.float64]


def select(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    *,
    k: int,
    by: Criterion | None = None,
    samples: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write the k rows of ``source`` that are most worth a label, the best first.

    The output has the source's columns, if they have names, `FILE` and `ROW` (where a row came
    from), ``_score``, and the columns of `mcdrop.scoring.columns`. Memory depends on k, not on the
    source.

    - ``bald``: epistemic uncertainty (a classification's mutual information in nats);
    - ``entropy``: total uncertainty, in nats;
    - ``variance``: epistemic variance, of probabilities summed over classes, or of a regression's
      means in units of the training target's variance;
    - ``batchbald``: rows that tell much together (`mcdrop.batchbald`), chosen among the 10 k rows,
      1,000 at least, of greatest BALD, which bounds what a row can add to any batch.

    Args:
        predictor: the model.
        source: as for `mcdrop.scoring.score`.
        output: .parquet, .csv, .jsonl or .arrow.
        k: rows to write; all, where the source has fewer.
        by: the criterion; a regression knows "variance" only. None: that, or "bald" for classes.
        samples: T; None takes the model's own number.
        seed: of the passes, and of BatchBALD's draws.
        progress: called with the rows looked at so far.

    Returns:
        Rows written.

    Raises:
        InputError: an argument is out of bounds, or the source does not fit the model.
        DataError: the source cannot be read or the output cannot be written.
    """
    kind, many = check_output(str(output), None)
    check_apart(find(str(source)), str(output))
    by = by or criterion(predictor)
    _check(predictor, k, by)
    wanted = max(_FEWEST, _CANDIDATES * k) if by == "batchbald" else k
    worth, rows, kept = _best(_pool(predictor, source, by, samples, seed, progress), wanted)
    if by == "batchbald":
        passes = predictor.sample(rows.x, samples, seed)  # (T, B, C)
        batch = batch_bald(passes, min(k, len(rows)), seed)
        worth, rows, kept = batch.gains, rows.rows(batch.rows), kept.take(pa.array(batch.rows))
    statistics = predictor.evaluate(rows.x, samples, seed)
    found = predictor.reference.apply(statistics, unknown=rows.unknown)
    answers = columns(found, predictor.card)
    own = dict(zip(kept.column_names, kept.columns, strict=True))
    table = pa.table({**own, SCORE: worth, **answers})
    with tempfile.TemporaryDirectory() as folder:
        written = Output(Path(folder) / "output", table.schema, kind, many=many)
        written.write(table)
        written.close(str(output))
    return len(table)


def criterion(predictor: Predictor) -> Criterion:
    """What rows are chosen by where nothing is said."""
    return "bald" if predictor.card.classes else "variance"


def _check(predictor: Predictor, k: int, by: str) -> None:
    if k < 1:
        raise InputError(f"k is {k}: give 1 row or more")
    if by not in CRITERIA:
        raise InputError(f"by is {by!r}: give one of {', '.join(CRITERIA)}")
    if by != "variance" and not predictor.card.classes:
        raise InputError(f"got {by!r} for a regression, wanted 'variance'")


Scored = tuple[Floats, Inputs, pa.Table]
"""Worth (B,), B rows, and their own columns."""


def _pool(
    predictor: Predictor,
    source: str | Path,
    by: Criterion,
    samples: int | None,
    seed: int,
    progress: Callable[[int], None],
) -> Iterator[Scored]:
    """All rows, block by block."""
    files = find(str(source))
    own = () if files[0].kind in _NAMELESS else (ALL,)
    sources = Sources(files, predictor.card.preprocessing, (*own, FILE, ROW))
    done = 0
    for piece in sources.plan():
        for chunk in sources.chunks(piece, ()):
            if chunk.rejected:
                bad = chunk.rejected[0]
                raise InputError(f"{bad.file}, row {bad.row} (rows count from 0): {bad.reason}")
            for rows, kept in chunk.blocks:
                yield _worth(predictor.evaluate(rows.x, samples, seed), by), rows, kept
                done += len(rows)
                progress(done)


def _worth(statistics: Statistics, by: Criterion) -> Floats:
    if isinstance(statistics, Regression):
        return row_epistemic(statistics)
    by_name: dict[str, Any] = {
        "bald": statistics.epistemic,
        "batchbald": statistics.epistemic,
        "entropy": statistics.total,
        "variance": statistics.epistemic_variance,
    }
    return cast(Floats, by_name[by])


def _best(blocks: Iterator[Scored], count: int) -> Scored:
    """The ``count`` rows of greatest worth, greatest first; of equals, the earlier."""
    held: Scored | None = None
    for block in blocks:
        pairs = [block] if held is None else [held, block]
        worth = np.concatenate([pair[0] for pair in pairs])
        rows = Inputs.concatenate([pair[1] for pair in pairs])
        kept = pa.concat_tables([pair[2] for pair in pairs])
        order = np.argsort(-worth, kind="stable")[:count]
        held = worth[order], rows.rows(order), kept.take(pa.array(order))
    if held is None:
        raise InputError("the source holds no rows: give at least one")
    return held
