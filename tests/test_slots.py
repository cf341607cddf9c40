"""Which cells of a table training never met: every one is found, and no other."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdrop.data.fitting import fit_table
from mcdrop.data.notes import RARE
from mcdrop.data.preprocessing import Inputs, TablePreprocessing
from tests.strange import names, people

LABELS = st.sampled_from(["red", "blue", "mauve", "", None, "RED", "red "])
CELLS = {
    "size": st.none() | st.floats(-30, 30) | st.just(math.nan),
    "age": st.none() | st.integers(-99, 199),
    "color": LABELS,
    "town": st.none() | st.sampled_from(["Rome", "Atlantis"]),
}
FITTED = fit_table(people().drop_columns(["y", "z"]))
SIZES = people()["size"].to_pylist()


def expected(record: dict[str, Any]) -> list[str]:
    size, age, town = record.get("size"), record.get("age"), record.get("town")
    both = age is None and town is None
    low, high = min(SIZES), max(SIZES)
    far = size is not None and not low - (high - low) <= size <= high + (high - low)
    return [
        *(["size"] if far or size is None else []),  # NaN is within no bounds
        *(["age"] if both or (age is not None and not 21 - 38 <= age <= 59 + 38) else []),
        *(["color"] if record.get("color") not in {"red", "blue"} else []),
        *(["town"] if both else []),
    ]


@given(st.lists(st.fixed_dictionaries({}, optional=CELLS), min_size=1, max_size=8))
def test_every_unknown_cell_is_flagged_and_no_other(records: list[dict[str, Any]]) -> None:
    found = FITTED.inspect(records)
    wanted = [expected(record) for record in records]
    assert names(found, FITTED.columns) == wanted
    full = [{name: record.get(name) for name in CELLS} for record in records]
    kinds = (pa.float64(), pa.int64(), pa.string(), pa.string())
    table = pa.Table.from_pylist(full, pa.schema(list(zip(CELLS, kinds, strict=True))))
    np.testing.assert_array_equal(FITTED.inspect(table).unknown, found.unknown)
    np.testing.assert_array_equal(FITTED.encode(records), found.x)
    alone = [FITTED.inspect([record]) for record in records]
    np.testing.assert_array_equal(Inputs.concatenate(alone).unknown, found.unknown)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_no_training_row_has_more_than_rare_labels_unknown(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = 60
    size = np.where(rng.random(rows) < rng.choice([0, 0.3]), np.nan, rng.normal(size=rows))
    common = [None if rng.random() < 0.2 else "ab"[i % 2] for i in range(rows - 2)]
    table = pa.table({"size": size, "kind": [*common, "rare", "rarer"]})
    unknown = fit_table(table).inspect(table).unknown
    assert not unknown[:, 0].any()
    assert np.flatnonzero(unknown[:, 1]).tolist() == [rows - 2, rows - 1]  # fewer than RARE
    assert RARE > 2


def test_plain_numbers_and_old_cards_have_nothing_to_tell() -> None:
    old = FITTED.model_dump(exclude={"most_missing"})
    inspected = TablePreprocessing.model_validate(old).inspect([{"size": 1, "color": "red"}])
    assert not inspected.unknown.any()
    model = {"kind": "table", "numeric": old["numeric"][:1], "categorical": ()}
    sizes = TablePreprocessing.model_validate(model)
    assert sizes.inspect([[1.0], [math.nan]]).unknown.tolist() == [[False], [True]]
