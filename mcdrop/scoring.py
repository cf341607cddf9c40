"""Score a file: a row of answers and uncertainties for every row of input, in bounded memory.

Knows how answers are laid out in columns, and that an output is either complete or not there.
Refuses to know HTTP and how an answer comes about. Memory depends on the block, not on the file.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from mcdrop.data.files import count_rows, read_batches
from mcdrop.errors import DataError
from mcdrop.predictions import ClassPredictions, Predictions, ValuePredictions
from mcdrop.predictor import Predictor
from mcdrop.repository import Card

__all__ = ["BLOCK", "Summary", "columns", "score"]

BLOCK = 1024
"""Rows answered at a time: whole row blocks of the posterior, so that bits equal ``predict``'s."""

_LABELS = pa.list_(pa.string())
_GROUP = 16  # blocks written at a time, as one row group of a Parquet file


@dataclass(frozen=True)
class Summary:
    """What a scoring did.

    Attributes:
        output: the file written.
        rows: rows answered.
        seconds: wall time.
        mean_confidence: mean of the confidence over rows (and targets).
        agreeing: share of rows whose class is the same with and without dropout; None for a
            regression.
    """

    output: Path
    rows: int
    seconds: float
    mean_confidence: float
    agreeing: float | None


def score(
    predictor: Predictor,
    source: Path,
    output: Path,
    *,
    samples: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Summary:
    """Answer for every row of ``source`` and write the answers to ``output``, in the same order.

    The output is written beside its place and moved there when it is complete: an error or an
    interrupt leaves what was there before. A Parquet output names model, version, weights, samples
    and seed in its schema's metadata.

    Args:
        predictor: the model.
        source: CSV, Parquet or NPZ; see `mcdrop.data.files.read_batches`.
        output: ``.parquet`` or ``.csv``; its columns are those of `columns`.
        samples: T; None takes the model's own number.
        seed: draws the T thinned networks.
        progress: called with (rows done, rows in all or None where unknown) before the first and
            after every block.

    Raises:
        InputError: the source cannot be read or does not fit the model, or samples or seed is out
            of bounds.
        DataError: the output cannot be written.
    """
    began = time.perf_counter()
    suffix = _check_output(output)
    tally = _Tally()
    total = count_rows(source)

    def tables() -> Iterator[pa.Table]:
        progress(0, total)
        for block in read_batches(source, predictor.card.preprocessing, rows=BLOCK):
            try:
                answers = predictor.predict(block, samples=samples, seed=seed)
            except DataError as error:
                raise DataError(
                    f"{source}, in the block from row {tally.rows} on: {error}"
                ) from None
            tally.add(answers)
            table = pa.table(columns(answers, predictor.card))
            about = _metadata(predictor.card, answers.samples, seed, answers.level)
            yield (_flat(table) if suffix == ".csv" else table).replace_schema_metadata(about)
            progress(tally.rows, total)

    with _replacing(output) as part:
        _write(tables(), part, suffix)
    return Summary(
        output,
        tally.rows,
        time.perf_counter() - began,
        tally.confidence / tally.rows,
        tally.agreeing / tally.rows if predictor.card.task == "classification" else None,
    )


def columns(answers: Predictions, card: Card) -> dict[str, Any]:
    """Answers as flat columns, one value a row: the one layout of scored files and of `predict`.

    A classification has ``prediction`` (the label), ``confidence``, both uncertainty splits,
    ``agrees``, ``deterministic_prediction``, and per class ``probability_<class>``,
    ``std_<class>``, ``mc_error_<class>`` and ``deterministic_probability_<class>``; and by
    calibration ``prediction_set`` (a list of labels; in CSV, parted by ``|``), ``novelty`` and
    ``abstain``. A regression has ``novelty``, and ``mean``, ``std``, the conformal ``lower`` and
    ``upper``, ``confidence``, ``total``, ``aleatoric``, ``epistemic``, ``mc_error`` and
    ``deterministic``, each with ``_<target>`` behind it where there are several targets.
    """
    if isinstance(answers, ValuePredictions):
        return _regression(answers, card.targets)
    names = np.array(card.classes)
    found: dict[str, Any] = {
        "prediction": names[answers.prediction],
        "confidence": answers.confidence,
        "total": answers.total,
        "aleatoric": answers.aleatoric,
        "epistemic": answers.epistemic,
        "total_variance": answers.total_variance,
        "aleatoric_variance": answers.aleatoric_variance,
        "epistemic_variance": answers.epistemic_variance,
        "novelty": answers.novelty,
        "abstain": answers.abstain,
        "prediction_set": pa.array(
            [names[row].tolist() for row in answers.prediction_set], _LABELS
        ),
        "agrees": answers.agrees,
        "deterministic_prediction": names[answers.deterministic.prediction],
    }
    by_class = {
        "probability": answers.probabilities,
        "std": answers.std,
        "mc_error": answers.mc_error,
        "deterministic_probability": answers.deterministic.probabilities,
    }
    for key, values in by_class.items():
        found |= {f"{key}_{name}": values[:, c] for c, name in enumerate(card.classes)}
    return found


def _regression(answers: ValuePredictions, targets: tuple[str, ...]) -> dict[str, Any]:
    by_target = {
        "mean": answers.mean,
        "std": answers.std,
        "lower": answers.lower,
        "upper": answers.upper,
        "confidence": answers.confidence,
        "total": answers.total,
        "aleatoric": answers.aleatoric,
        "epistemic": answers.epistemic,
        "mc_error": answers.mc_error,
        "deterministic": answers.deterministic.mean,
    }
    endings = [f"_{target}" for target in targets] if len(targets) > 1 else [""]
    return {"novelty": answers.novelty} | {
        f"{key}{ending}": values[:, c]
        for c, ending in enumerate(endings)
        for key, values in by_target.items()
    }


def _flat(table: pa.Table) -> pa.Table:
    """Lists of labels as texts, for CSV has no lists."""
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            table = table.set_column(i, field.name, pc.binary_join(table[i], "|"))
    return table


@dataclass
class _Tally:
    """Running sums over the rows answered so far."""

    rows: int = 0
    confidence: float = 0.0
    agreeing: int = 0

    def add(self, answers: Predictions) -> None:
        self.rows += len(answers)
        self.confidence += float(answers.confidence.reshape(len(answers), -1).mean(axis=1).sum())
        if isinstance(answers, ClassPredictions):
            self.agreeing += int(answers.agrees.sum())


def _metadata(card: Card, samples: int, seed: int, level: float) -> dict[str, str]:
    return {
        "mcdrop.model": card.name,
        "mcdrop.version": str(card.version),
        "mcdrop.weights_sha256": card.weights_sha256,
        "mcdrop.samples": str(samples),
        "mcdrop.level": str(level),
        "mcdrop.seed": str(seed),
    }


def _check_output(output: Path) -> str:
    """The output's suffix, once it is known that a file can be put there."""
    suffix = output.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise DataError(f"{output} is of no kind that can be written: name it .parquet or .csv")
    if output.is_dir() or not output.parent.is_dir():
        raise DataError(f"{output} cannot be written: give a file in a folder that exists")
    return suffix


def _write(tables: Iterator[pa.Table], path: Path, suffix: str) -> None:
    open_writer = pa_csv.CSVWriter if suffix == ".csv" else pq.ParquetWriter
    held = [next(tables)]  # a source without rows has been refused before this
    with open_writer(path, held[0].schema) as writer:
        for table in tables:
            if len(held) == _GROUP:
                writer.write_table(pa.concat_tables(held))
                held.clear()
            held.append(table)
        writer.write_table(pa.concat_tables(held))


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """A path beside ``output`` to write to, moved over it at the end, or removed on any failure."""
    part = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(output)
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
