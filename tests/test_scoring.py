import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import mcdrop
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.errors import DataError, InputError
from mcdrop.predictions import ValuePredictions
from mcdrop.scoring import BLOCK, columns, score
from mcdrop.uncertainty import DeterministicOutputs
from tests.models import random_pixels, save_random_classifier

ROWS = 2 * BLOCK + 300


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return mcdrop.load(save_random_classifier(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return random_pixels(ROWS)


@pytest.fixture
def source(tmp_path, pixels) -> Path:
    path = tmp_path / "rows.npz"
    np.savez(path, x=pixels.astype(np.uint8))
    return path


def read(path: Path) -> pa.Table:
    return pa_csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_scored_rows_are_what_predict_answers(predictor, pixels, source, suffix) -> None:
    output = source.with_name(f"scores{suffix}")
    summary = score(predictor, source, output, samples=20, seed=3)
    answers = predictor.predict(pixels, samples=20, seed=3)
    table = read(output)
    assert table.num_rows == ROWS
    for name, values in columns(answers, predictor.card).items():
        found = table[name].to_pylist()
        if isinstance(values, pa.Array):
            sets = values.to_pylist()
            assert found == (["|".join(s) for s in sets] if suffix == ".csv" else sets)
        elif values.dtype.kind == "f":
            np.testing.assert_array_equal(found, values, err_msg=name)  # to the last bit
        else:
            assert list(map(str, found)) == list(map(str, values)), name
    assert summary.rows == ROWS
    assert summary.output == output
    assert summary.mean_confidence == pytest.approx(answers.confidence.mean())
    assert summary.agreeing == pytest.approx(answers.agrees.mean())
    assert summary.seconds > 0


def test_every_column_is_there_and_means_what_it_says(predictor, source) -> None:
    output = source.with_suffix(".parquet")
    score(predictor, source, output, samples=5)
    table = pq.read_table(output)
    classes = predictor.card.classes
    kinds = ("probability", "std", "mc_error", "deterministic_probability")
    assert table.column_names == [
        "prediction", "confidence", "total", "aleatoric", "epistemic", "total_variance",
        "aleatoric_variance", "epistemic_variance", "novelty", "abstain", "prediction_set",
        "agrees", "deterministic_prediction",
        *(f"{kind}_{name}" for kind in kinds for name in classes),
    ]  # fmt: skip
    types = {field.name: field.type for field in table.schema}
    assert types["prediction"] == types["deterministic_prediction"] == pa.string()
    assert types["agrees"] == types["abstain"] == pa.bool_()
    assert types["prediction_set"] == pa.list_(pa.string())
    others = {"prediction", "deterministic_prediction", "agrees", "abstain", "prediction_set"}
    assert {types[n] for n in types if n not in others} == {pa.float64()}

    def stack(kind: str) -> np.ndarray:
        return np.column_stack([table[f"{kind}_{name}"].to_numpy() for name in classes])

    p, q = stack("probability"), stack("deterministic_probability")
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert table["prediction"].to_pylist() == [classes[i] for i in p.argmax(axis=1)]
    assert table["deterministic_prediction"].to_pylist() == [classes[i] for i in q.argmax(axis=1)]
    np.testing.assert_array_equal(table["agrees"].to_numpy(), p.argmax(axis=1) == q.argmax(axis=1))
    np.testing.assert_allclose(
        table["confidence"].to_numpy(), 1 - (1 - (p**2).sum(axis=1)) / 0.9, atol=1e-12
    )
    np.testing.assert_allclose(table["total"].to_numpy(), -(p * np.log(p)).sum(axis=1))
    spread = (stack("std") ** 2).sum(axis=1)
    np.testing.assert_allclose(table["epistemic_variance"].to_numpy(), spread, atol=1e-12)
    for split in ("", "_variance"):
        parts = table[f"aleatoric{split}"].to_numpy() + table[f"epistemic{split}"].to_numpy()
        np.testing.assert_allclose(table[f"total{split}"].to_numpy(), parts)


def test_parquet_says_where_its_rows_came_from(predictor, source) -> None:
    output = source.with_suffix(".parquet")
    score(predictor, source, output, seed=9)
    metadata = pq.read_schema(output).metadata
    card = predictor.card
    assert {key.decode(): value.decode() for key, value in metadata.items()} == {
        "mcdrop.model": card.name,
        "mcdrop.version": "1",
        "mcdrop.weights_sha256": card.weights_sha256,
        "mcdrop.samples": str(card.samples),
        "mcdrop.seed": "9",
        "mcdrop.level": "0.9",
    }


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_progress_counts_rows(predictor, pixels, source, suffix) -> None:
    if suffix == ".csv":
        source = source.with_suffix(".csv")
        pa_csv.write_csv(pa.table({f"p{i}": c for i, c in enumerate(pixels.T)}), source)
    steps = []
    score(
        predictor, source, source.with_name("s.csv"), samples=1,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    total = None if suffix == ".csv" else ROWS
    assert steps == [(done, total) for done in (0, BLOCK, 2 * BLOCK, ROWS)]


@dataclass
class Fake:
    """A predictor that answers a regression and can fail at a block."""

    targets: tuple[str, ...] = ("y",)
    width: int = 3
    fails: dict[int, BaseException] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.card = SimpleNamespace(
            name="fake", version=2, task="regression", targets=self.targets, classes=(),
            weights_sha256="0" * 64,
            preprocessing=ArrayPreprocessing(shape=(self.width,), scale=1, mean=0, std=1),
        )  # fmt: skip

    def predict(self, rows, samples=None, seed=0) -> ValuePredictions:
        if error := self.fails.get(len(self.sizes)):
            raise error
        self.sizes.append(len(rows))
        mean = self.card.preprocessing.encode(rows)[:, : len(self.targets)].astype(float)
        ones = np.ones_like(mean)
        return ValuePredictions(
            lower=mean - 4, upper=mean + 4, novelty=np.full(len(mean), 0.25), level=0.9,
            mean=mean, epistemic=ones, aleatoric=3 * ones, target_variance=16 * ones,
            mc_error=ones / 10, deterministic=DeterministicOutputs(mean + 0.5), samples=7,
        )  # fmt: skip


@pytest.fixture
def rows(tmp_path) -> Path:
    path = tmp_path / "rows.npz"
    np.savez(path, x=np.arange(3.0 * ROWS).reshape(ROWS, 3))
    return path


def test_a_regression_has_columns_of_its_own(rows) -> None:
    output = rows.with_suffix(".parquet")
    summary = score(Fake(), rows, output)
    table = pq.read_table(output)
    assert table.column_names == [
        "novelty", "mean", "std", "lower", "upper", "confidence", "total", "aleatoric", "epistemic",
        "mc_error", "deterministic",
    ]  # fmt: skip
    first = table.slice(0, 1).to_pylist()[0]
    assert first == {
        "novelty": 0.25, "lower": -4, "upper": 4,
        "mean": 0, "std": 2, "confidence": 0.75, "total": 4, "aleatoric": 3, "epistemic": 1,
        "mc_error": 0.1, "deterministic": 0.5,
    }  # fmt: skip
    np.testing.assert_array_equal(table["mean"].to_numpy(), 3 * np.arange(ROWS))
    assert summary.agreeing is None
    assert summary.mean_confidence == pytest.approx(0.75)


def test_several_targets_are_told_apart_by_name(rows) -> None:
    output = rows.with_suffix(".csv")
    score(Fake(targets=("a", "b")), rows, output)
    table = pa_csv.read_csv(output)
    assert len(table.column_names) == 21
    np.testing.assert_array_equal(table["mean_b"].to_numpy(), 3 * np.arange(ROWS) + 1)


def test_blocks_and_not_the_file_are_in_memory(rows) -> None:
    fake = Fake()
    score(fake, rows, rows.with_suffix(".csv"))
    assert fake.sizes == [BLOCK, BLOCK, ROWS - 2 * BLOCK]


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix) -> None:
    def peak(blocks: int) -> int:
        x = np.zeros((blocks * BLOCK, 400), np.uint8)
        path = tmp_path / f"rows{suffix}"
        if suffix == ".npz":
            np.savez(path, x=x)
        elif suffix == ".csv":
            path.write_text(
                ",".join(f"p{i}" for i in range(400)) + ("\n" + "0," * 399 + "0") * len(x)
            )
        else:
            flat = pa.array(x.reshape(-1))
            pq.write_table(pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, 400)}), path)
        del x
        tracemalloc.start()
        score(Fake(width=400), path, tmp_path / "s.parquet")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # imports and caches
    assert peak(60) < peak(20) + 2_000_000  # 40 more blocks hold 16 MB as bytes, 65 MB as float32


def test_many_blocks_make_few_row_groups(tmp_path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((40 * BLOCK, 3)))
    score(Fake(), tmp_path / "rows.npz", tmp_path / "s.parquet")
    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert file.metadata.num_rows == 40 * BLOCK
    assert file.num_row_groups == 3


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("no"), MemoryError()])
@pytest.mark.parametrize("block", [0, 2])
def test_a_failure_leaves_the_older_output_and_nothing_else(rows, suffix, error, block) -> None:
    output = rows.with_suffix(suffix)
    output.write_text("older")
    with pytest.raises(type(error)):
        score(Fake(fails={block: error}), rows, output)
    assert output.read_text() == "older"
    assert sorted(rows.parent.iterdir()) == sorted([rows, output])


def test_an_older_output_is_replaced(rows) -> None:
    output = rows.with_suffix(".parquet")
    output.write_text("older")
    score(Fake(), rows, output)
    assert pq.read_metadata(output).num_rows == ROWS
    assert sorted(rows.parent.iterdir()) == sorted([rows, output])


def test_a_file_can_be_scored_over_itself(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    pa_csv.write_csv(pa.table({"a": [1], "b": [2], "c": [3]}), path)
    score(Fake(), path, path)
    assert pa_csv.read_csv(path)["mean"].to_pylist() == [1]


@pytest.mark.parametrize("name", ["s.txt", "s", "none/s.csv", "folder.csv"])
def test_an_unusable_output_is_refused_before_any_work(rows, name) -> None:
    (rows.parent / "folder.csv").mkdir()
    fake = Fake()
    with pytest.raises(DataError, match=r"cannot be written|can be written"):
        score(fake, rows, rows.parent / name)
    assert not fake.sizes


def test_a_bad_row_is_named_by_file_and_block(predictor, tmp_path) -> None:
    x = np.zeros((BLOCK + 10, 64))
    x[BLOCK + 4, 5] = np.nan
    np.savez(tmp_path / "rows.npz", x=x)
    with pytest.raises(
        DataError, match=rf"rows\.npz, in the block from row {BLOCK} on: row 4, column 5"
    ):
        score(predictor, tmp_path / "rows.npz", tmp_path / "s.csv", samples=1)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.npz"]


@pytest.mark.parametrize("x", [np.zeros((0, 64)), np.zeros((3, 63))])
def test_an_unusable_source_leaves_nothing(predictor, tmp_path, x) -> None:
    np.savez(tmp_path / "rows.npz", x=x)
    with pytest.raises(DataError, match=r"rows\.npz"):
        score(predictor, tmp_path / "rows.npz", tmp_path / "s.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.npz"]
