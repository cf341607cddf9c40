"""Answers as columns: which there are, and what they mean."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mcdrop.predictions import ValuePredictions
from mcdrop.scoring import columns, schema, score
from mcdrop.uncertainty import DeterministicOutputs


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


def values(targets: int) -> ValuePredictions:
    mean = np.arange(4.0 * targets).reshape(4, targets)
    ones = np.ones_like(mean)
    return ValuePredictions(
        lower=mean - 4, upper=mean + 4, novelty=np.full(4, 0.25), level=0.9,
        unknown=np.array([[False, True], [False, False], [True, True], [False, False]]),
        mean=mean, epistemic=ones, aleatoric=3 * ones, target_variance=16 * ones,
        mc_error=ones / 10, deterministic=DeterministicOutputs(mean + 0.5), samples=7,
    )  # fmt: skip


def card_of(
    targets: tuple[str, ...] = (), classes: tuple[str, ...] = (), inputs: tuple[str, ...] = ()
) -> Any:
    return SimpleNamespace(
        task="classification" if classes else "regression",
        targets=targets,
        classes=classes,
        preprocessing=SimpleNamespace(columns=inputs),
    )


def test_a_model_of_a_table_says_which_columns_training_never_met() -> None:
    for targets in (("y",), ("a", "b")):
        card = card_of(targets=targets, inputs=("age", "job"))
        found = columns(values(len(targets)), card)
        assert list(found)[:2] == schema(card).names[:2] == ["novelty", "unknown"]
        assert found["unknown"].type == schema(card).field("unknown").type
        assert found["unknown"].to_pylist() == [["job"], [], ["age", "job"], []]


def test_a_regression_has_columns_of_its_own() -> None:
    card = card_of(targets=("y",))
    found = columns(values(1), card, mc_error=True)
    assert list(found) == schema(card, mc_error=True).names
    assert {name: column[1] for name, column in found.items()} == {
        "novelty": 0.25, "mean": 1, "std": 2, "lower": -3, "upper": 5, "confidence": 0.75,
        "total": 4, "aleatoric": 3, "epistemic": 1, "deterministic": 1.5, "mc_error": 0.1,
    }  # fmt: skip
    assert "mc_error" not in columns(values(1), card)


def test_several_targets_are_told_apart_by_name() -> None:
    card = card_of(targets=("a", "b"))
    found = columns(values(2), card)
    assert list(found) == schema(card).names
    assert len(found) == 19
    np.testing.assert_array_equal(found["mean_b"], [1, 3, 5, 7])


def test_the_documentation_names_every_column() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "scoring.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    classes = card_of(classes=("<class>",), inputs=("age",))
    values = card_of(targets=("y",), inputs=("age",))
    told = [name for cell in cells for name in cell.replace("`", "").replace(",", " ").split()]
    for card in (classes, values):
        names = schema(card, mc_error=True).names
        assert names in [told[i : i + len(names)] for i in range(len(told))]
