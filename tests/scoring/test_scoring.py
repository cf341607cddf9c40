"""A scoring as a whole: what it answers, what it says of itself, what it needs."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from scipy.stats import ks_2samp

import mcdrop
from mcdrop.calibration import row_epistemic
from mcdrop.errors import DataError, InputError
from mcdrop.scoring import columns, schema, score
from mcdrop.scoring.rows import CHUNK
from tests.models import SIZES, save_table_model
from tests.scoring.outputs import ROWS, names, read


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_scored_rows_are_what_predict_answers(predictor, pixels, source, suffix) -> None:
    output = source.with_name(f"scores{suffix}")
    summary = score(predictor, source, output, samples=5, seed=3, mc_error=True)
    answers = predictor.predict(pixels, samples=5, seed=3)
    table = read(output)
    assert table.num_rows == ROWS
    expected = columns(answers, predictor.card, mc_error=True)
    assert table.column_names == list(expected)
    for name, values in expected.items():
        found = table[name].to_pylist()
        if name == "prediction_set":
            sets = values.to_pylist()
            assert found == (["|".join(s) for s in sets] if suffix == ".csv" else sets)
        elif getattr(values, "dtype", None) == np.float64:
            np.testing.assert_array_equal(found, values, err_msg=name)  # to the last bit
        else:
            assert list(map(str, found)) == list(map(str, values)), name
    assert (summary.rows, summary.rejected, summary.written) == (ROWS, 0, ROWS)
    assert summary.output == str(output)
    assert summary.side is None
    assert summary.mean_confidence == pytest.approx(answers.confidence.mean())
    assert summary.agreeing == pytest.approx(answers.agrees.mean())
    assert summary.abstaining == pytest.approx(answers.abstain.mean())
    np.testing.assert_array_equal(
        summary.confidences, np.histogram(answers.confidence, 20, (0, 1))[0]
    )
    assert summary.drift is None  # the calibration's passes were others
    assert names(source.parent) == sorted(["rows.npy", output.name])


def test_drift_is_told_where_the_passes_are_those_of_the_calibration(
    predictor, source, pixels
) -> None:
    summary = score(predictor, source, source.with_suffix(".csv"), seed=predictor.card.recipe.seed)
    answers = predictor.predict(pixels, seed=predictor.card.recipe.seed)
    exact = ks_2samp(answers.epistemic, predictor.reference.epistemic)
    assert summary.drift.statistic == pytest.approx(exact.statistic, abs=2e-3)


def test_a_regression_is_scored(tmp_path, predictor, source, monkeypatch) -> None:
    from tests.models import save_random_regressor

    predictor = mcdrop.load(save_random_regressor(tmp_path / "models"))
    summary = score(predictor, source, tmp_path / "o.parquet", samples=3)
    assert summary.agreeing is None
    assert summary.abstaining is None
    table = pq.read_table(tmp_path / "o.parquet")
    answers = predictor.predict(np.load(source), samples=3)
    np.testing.assert_array_equal(table["mean"].to_numpy(), answers.mean[:, 0])
    assert summary.mean_confidence == pytest.approx(answers.confidence.mean())


def test_progress_counts_rows(predictor, source) -> None:
    steps: list[tuple[int, int | None]] = []
    score(
        predictor, source, source.with_name("s.csv"), samples=1,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert [done for done, _ in steps] == [0, CHUNK, 2 * CHUNK, ROWS]
    assert steps[-1][1] == ROWS


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".csv", ".arrow"])
def test_memory_does_not_grow_with_the_file(tmp_path, predictor, suffix) -> None:
    def peak(chunks: int) -> int:
        x = np.zeros((chunks * CHUNK, 64), np.uint8)
        path = tmp_path / f"rows{suffix}"
        if suffix == ".npy":
            np.save(path, x)
        elif suffix == ".npz":
            np.savez(path, x=x)
        elif suffix == ".csv":
            path.write_text(
                ",".join(f"p{i}" for i in range(64)) + ("\n" + "0," * 63 + "0") * len(x)
            )
        else:
            table = pa.table({f"p{i}": c for i, c in enumerate(x.T)})
            if suffix == ".parquet":
                pq.write_table(table, path)  # one row group
            else:
                feather.write_feather(table, path, "uncompressed", chunksize=len(x))
            del table
        del x
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        score(predictor, path, tmp_path / "s.parquet", samples=1)
        found = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before
        tracemalloc.stop()
        return found

    peak(1)  # imports and caches
    # What is in flight varies by some chunks; 20 more hold 42 MB as float32, 70 MB as answers.
    assert peak(30) < peak(10) + 20_000_000


def test_the_highest_rows_are_found_in_one_pass(predictor, source, pixels) -> None:
    output = source.with_suffix(".parquet")
    summary = score(predictor, source, output, samples=4, top=50, by="total")
    table = pq.read_table(output)
    total = predictor.predict(pixels, samples=4).total
    expected = np.argsort(-total, kind="stable")[:50]
    assert table["_row"].to_pylist() == expected.tolist()
    assert set(table["_file"].to_pylist()) == {str(source)}
    np.testing.assert_array_equal(table["total"].to_numpy(), total[expected])
    assert (summary.rows, summary.written) == (ROWS, 50)
    with pytest.raises(DataError, match="'prediction'"):
        score(predictor, source, output, samples=4, top=5, by="prediction")


def test_rows_of_several_targets_are_chosen_by_all_of_them(tmp_path, rng) -> None:
    noise = {"noise": [0.25, 4e6], "target_variance": [9.0, 16e6]}
    model = save_table_model(tmp_path, "sizes", SIZES, targets=("m", "n"), calibration=noise)
    predictor, rows = mcdrop.load(model), rng.normal(size=(ROWS, 2)) * 3
    np.save(tmp_path / "rows.npy", rows)
    score(predictor, tmp_path / "rows.npy", tmp_path / "o.parquet", samples=4, top=20)
    answer = predictor.predict(rows, samples=4)
    expected = np.argsort(-row_epistemic(answer), kind="stable")[:20]
    assert pq.read_table(tmp_path / "o.parquet")["_row"].to_pylist() == expected.tolist()
    score(predictor, tmp_path / "rows.npy", tmp_path / "n.csv", samples=4, top=20, by="epistemic_n")
    expected = np.argsort(-answer.epistemic[:, 1], kind="stable")[:20]
    found = pa_csv.read_csv(tmp_path / "n.csv")["_row"].to_pylist()
    assert found == expected.tolist()


def test_row_order_changes_nothing_but_rounding(predictor, source, pixels, tmp_path, rng) -> None:
    order = rng.permutation(ROWS)
    np.save(tmp_path / "turned.npy", pixels[order])
    score(predictor, source, tmp_path / "a.parquet", samples=5)
    score(predictor, tmp_path / "turned.npy", tmp_path / "b.parquet", samples=5)
    a, b = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    for name in schema(predictor.card).names:
        if pa.types.is_floating(a.schema.field(name).type):
            np.testing.assert_allclose(b[name], a[name].to_numpy()[order], atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1}, {"workers": 0}, {"top": 0}, {"on": "mars"}, {"on_error": "hide"},
        {"format": "xml"}, {"keep": ["id"]}, {"level": 2.0}, {"by": "total"},
    ],
)  # fmt: skip
def test_unusable_arguments_are_refused(predictor, source, wrong) -> None:
    with pytest.raises(InputError):
        score(predictor, source, source.with_suffix(".csv"), **({"samples": 1} | wrong))
    assert names(source.parent) == ["rows.npy"]


def test_rows_take_the_passes_they_need(predictor, pixels, tmp_path) -> None:
    np.save(tmp_path / "few.npy", pixels[:50])
    out = tmp_path / "scores.parquet"
    score(predictor, tmp_path / "few.npy", out, samples="auto", tolerance=0.02, mc_error=True)
    table = read(out)
    assert table.schema.metadata[b"mcdrop.samples"] == b"auto 0.02"
    expected = predictor.predict(pixels[:50], samples="auto", tolerance=0.02)
    np.testing.assert_allclose(table["confidence"].to_numpy(), expected.confidence, atol=1e-6)
    assert max(table[f"mc_error_{c}"].to_numpy().max() for c in predictor.card.classes) <= 0.02
    with pytest.raises(InputError, match="needs samples 'auto'"):
        score(predictor, tmp_path / "few.npy", tmp_path / "o.csv", tolerance=0.02)
