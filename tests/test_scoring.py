import io
import json
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from scipy.stats import ks_2samp

import mcdrop
from mcdrop.errors import DataError, InputError
from mcdrop.predictions import ValuePredictions
from mcdrop.scoring import columns, schema, score
from mcdrop.scoring.rows import BLOCK, CHUNK
from mcdrop.uncertainty import DeterministicOutputs
from tests.models import random_pixels, save_random_classifier

ROWS = 2 * CHUNK + 300


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_random_classifier(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def predictor(model):
    return mcdrop.load(model)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return random_pixels(ROWS)


@pytest.fixture
def source(tmp_path, pixels) -> Path:
    path = tmp_path / "rows.npy"
    np.save(path, pixels.astype(np.uint8))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(path: Path) -> pa.Table:
    if path.suffix == ".csv":
        return pa_csv.read_csv(path)
    if path.suffix == ".jsonl":
        return pa.Table.from_pylist([json.loads(line) for line in path.read_text().splitlines()])
    return feather.read_table(path) if path.suffix == ".arrow" else pq.read_table(path)


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


def test_the_schema_is_known_before_any_answer(predictor, source) -> None:
    output = source.with_suffix(".parquet")
    for mc_error in (False, True):
        score(predictor, source, output, samples=2, mc_error=mc_error)
        found = pq.read_schema(output).remove_metadata()
        assert found.equals(schema(predictor.card, mc_error=mc_error))


def test_every_column_is_there_and_means_what_it_says(predictor, source) -> None:
    output = source.with_suffix(".parquet")
    score(predictor, source, output, samples=5)
    table = pq.read_table(output)
    classes = predictor.card.classes
    kinds = ("probability", "std", "deterministic_probability")
    assert table.column_names == [
        "prediction", "confidence", "total", "aleatoric", "epistemic", "total_variance",
        "aleatoric_variance", "epistemic_variance", "novelty", "abstain", "prediction_set",
        "agrees", "deterministic_prediction",
        *(f"{kind}_{name}" for kind in kinds for name in classes),
    ]  # fmt: skip

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


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_the_output_says_where_its_rows_came_from(predictor, source, suffix) -> None:
    output = source.with_suffix(suffix)
    score(predictor, source, output, samples=3, seed=9, level=0.8)
    assert {k.decode(): v.decode() for k, v in read(output).schema.metadata.items()} == {
        "mcdrop.model": predictor.card.name,
        "mcdrop.version": "1",
        "mcdrop.weights_sha256": predictor.card.weights_sha256,
        "mcdrop.samples": "3",
        "mcdrop.seed": "9",
        "mcdrop.level": "0.8",
        "mcdrop.risk": "0.05",
    }


def values(targets: int) -> ValuePredictions:
    mean = np.arange(4.0 * targets).reshape(4, targets)
    ones = np.ones_like(mean)
    return ValuePredictions(
        lower=mean - 4, upper=mean + 4, novelty=np.full(4, 0.25), level=0.9,
        mean=mean, epistemic=ones, aleatoric=3 * ones, target_variance=16 * ones,
        mc_error=ones / 10, deterministic=DeterministicOutputs(mean + 0.5), samples=7,
    )  # fmt: skip


def test_a_regression_has_columns_of_its_own() -> None:
    card = SimpleNamespace(task="regression", targets=("y",), classes=())
    found = columns(values(1), card, mc_error=True)
    assert list(found) == schema(card, mc_error=True).names
    assert {name: column[1] for name, column in found.items()} == {
        "novelty": 0.25, "mean": 1, "std": 2, "lower": -3, "upper": 5, "confidence": 0.75,
        "total": 4, "aleatoric": 3, "epistemic": 1, "deterministic": 1.5, "mc_error": 0.1,
    }  # fmt: skip
    assert "mc_error" not in columns(values(1), card)


def test_several_targets_are_told_apart_by_name() -> None:
    card = SimpleNamespace(task="regression", targets=("a", "b"), classes=())
    found = columns(values(2), card)
    assert list(found) == schema(card).names
    assert len(found) == 19
    np.testing.assert_array_equal(found["mean_b"], [1, 3, 5, 7])


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


def test_many_chunks_make_few_row_groups(predictor, tmp_path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((10 * CHUNK, 64), np.uint8))
    score(predictor, tmp_path / "rows.npy", tmp_path / "s.parquet", samples=1)
    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert file.metadata.num_rows == 10 * CHUNK
    assert file.num_row_groups == 2


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_folder_of_files_says_what_is_in_it(predictor, source, monkeypatch, kind) -> None:
    monkeypatch.setattr("mcdrop.scoring.writing._GROUP", CHUNK)
    monkeypatch.setattr("mcdrop.scoring.writing._FILE", CHUNK)
    output = source.with_name("scores")
    for _ in range(2):  # the second replaces the first
        score(predictor, source, output, samples=2, format=kind)
        about = json.loads((output / "_manifest.json").read_text())
        files = [f"part-0000{i}.{kind}" for i in range(3)]
        assert [(f["name"], f["rows"]) for f in about["files"]] == [
            *zip(files, [CHUNK, CHUNK, 300], strict=True)
        ]
        assert names(output) == ["_manifest.json", *files]
    assert about["mcdrop.seed"] == "0"
    score(predictor, source, source.with_name(f"one.{kind}"), samples=2)
    whole = read(source.with_name(f"one.{kind}"))
    assert pa.concat_tables([read(output / name) for name in files]).equals(whole)
    (output / "_manifest.json").unlink()
    with pytest.raises(DataError, match="holds other files"):
        score(predictor, source, output, samples=2)


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


def test_row_order_changes_nothing_but_rounding(predictor, source, pixels, tmp_path, rng) -> None:
    order = rng.permutation(ROWS)
    np.save(tmp_path / "turned.npy", pixels[order])
    score(predictor, source, tmp_path / "a.parquet", samples=5)
    score(predictor, tmp_path / "turned.npy", tmp_path / "b.parquet", samples=5)
    a, b = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    for name in schema(predictor.card).names:
        if pa.types.is_floating(a.schema.field(name).type):
            np.testing.assert_allclose(b[name], a[name].to_numpy()[order], atol=1e-6)


def test_an_older_output_is_replaced_only_by_a_complete_one(predictor, source) -> None:
    output = source.with_suffix(".parquet")
    output.write_text("older")
    with pytest.raises(InputError):
        score(predictor, source, output, samples=0)
    assert output.read_text() == "older"
    score(predictor, source, output, samples=2)
    assert pq.read_metadata(output).num_rows == ROWS
    assert sorted(source.parent.iterdir()) == sorted([source, output])


def test_a_file_can_be_scored_over_itself(predictor, tmp_path) -> None:
    path = tmp_path / "rows.csv"
    pa_csv.write_csv(pa.table({f"p{i}": [i % 17] for i in range(64)}), path)
    score(predictor, path, path, samples=2)
    assert pa_csv.read_csv(path).num_rows == 1


@pytest.mark.parametrize("name", ["s.txt", "none/s.csv", "folder.csv", "none/folder", "rows.npy/"])
def test_an_unusable_output_is_refused_before_any_work(predictor, source, name) -> None:
    (source.parent / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"cannot be written|can be written|other files"):
        score(predictor, source, f"{source.parent}/{name}")
    assert names(source.parent) == ["folder.csv", "rows.npy"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1}, {"workers": 0}, {"top": 0}, {"on": "mars"}, {"on_error": "hide"},
        {"format": "xml"}, {"keep": ["id"]}, {"level": 2.0},
    ],
)  # fmt: skip
def test_unusable_arguments_are_refused(predictor, source, wrong) -> None:
    with pytest.raises(InputError):
        score(predictor, source, source.with_suffix(".csv"), **({"samples": 1} | wrong))
    assert names(source.parent) == ["rows.npy"]


def test_urls_are_read_and_written(predictor, pixels, tmp_path, source, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    table = pa.table({f"p{i}": c for i, c in enumerate(pixels.T)})
    for i in range(2):
        with store.open(f"/scoring-in/{i}.parquet", "wb") as file:
            pq.write_table(table.slice(i * BLOCK, BLOCK), file)
    summary = score(
        predictor, "memory://scoring-in", "memory://scoring-out/s.parquet", samples=2,
        keep=["_file", "_row"],
    )  # fmt: skip
    assert summary.rows == 2 * BLOCK
    with store.open("/scoring-out/s.parquet", "rb") as file:
        found = pq.read_table(file)
    assert found["_file"].to_pylist()[:: BLOCK - 1] == [
        *["memory:///scoring-in/0.parquet"] * 2, "memory:///scoring-in/1.parquet",
    ]  # fmt: skip
    assert found["_row"].to_pylist() == [*range(BLOCK)] * 2
    score(predictor, source, tmp_path / "s.parquet", samples=2)
    local = pq.read_table(tmp_path / "s.parquet").slice(0, 2 * BLOCK)
    assert found.drop_columns(["_file", "_row"]).equals(local)
    score(predictor, "memory://scoring-in/*.parquet", "memory://scoring-out/many/", samples=2)
    assert store.exists("/scoring-out/many/_manifest.json")


def test_a_store_whose_package_is_absent_is_named(predictor, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(DataError, match=r"s3://bucket/x.csv needs another package: .*s3fs"):
        score(predictor, "s3://bucket/x.csv", tmp_path / "s.csv", samples=1)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "npz", "npy", "arrow"])
def test_standard_input_is_read_whatever_its_format(
    predictor, tmp_path, pixels, monkeypatch, kind
) -> None:
    table = pa.table({f"p{i}": c for i, c in enumerate(pixels[:50].T)})
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        pa_csv.write_csv(table, path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif kind == "parquet":
        pq.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        (np.save if kind == "npy" else np.savez)(
            path, **{"arr" if kind == "npy" else "x": pixels[:50]}
        )
    score(predictor, path, tmp_path / "a.csv", samples=2)
    stream = SimpleNamespace(buffer=io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    score(predictor, "-", tmp_path / "b.csv", samples=2)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_processes_give_the_same_bytes(predictor, source) -> None:
    outputs = [source.with_name(f"{workers}.parquet") for workers in (1, 2)]
    for workers, output in enumerate(outputs, 1):
        score(predictor, source, output, samples=5, workers=workers)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.slow
def test_an_error_of_a_worker_is_told(predictor, tmp_path) -> None:
    x = random_pixels(20)
    x[7, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match=r"x\.npy, row 7 .*column 3"):
        score(predictor, tmp_path / "x.npy", tmp_path / "s.csv", samples=1, workers=2)
    assert names(tmp_path) == ["x.npy"]


def test_other_processes_need_to_know_where_the_model_is(predictor, source) -> None:
    adrift = mcdrop.Predictor(predictor.card, predictor.network, predictor.reference)
    with pytest.raises(InputError, match=r"mcdrop\.load"):
        score(adrift, source, source.with_suffix(".csv"), samples=1, workers=2)


def test_the_documentation_names_every_column() -> None:
    page = (Path(__file__).parent.parent / "docs" / "scoring.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    classes = SimpleNamespace(task="classification", targets=(), classes=("<class>",))
    values = SimpleNamespace(task="regression", targets=("y",), classes=())
    told = [name for cell in cells for name in cell.replace("`", "").replace(",", " ").split()]
    for card in (classes, values):
        names = schema(card, mc_error=True).names
        assert names in [told[i : i + len(names)] for i in range(len(told))]


def test_ray_is_named_where_it_is_absent(predictor, source, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'mcdrop\[ray\]'"):
        score(predictor, source, source.with_suffix(".csv"), samples=1, on="ray")
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
