"""Tables and records mean the same through every door: Python, files, the terminal, HTTP."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import tritonclient.http as triton
from typer.testing import CliRunner

import mcdrop
from mcdrop import cli
from mcdrop.errors import InputError
from mcdrop.scoring import score
from tests.models import save_models
from tests.serving import serving

Columns = dict[str, list[Any]]
GOOD: Columns = {"age": [30.0, None, 61.0], "job": ["smith", "clerk", "pilot"]}


class Place(NamedTuple):
    """Where one model is to be asked."""

    repository: Path
    model: mcdrop.Predictor
    url: str
    scratch: Path


class Answer(NamedTuple):
    probabilities: Any
    unknown: list[list[str]]


Door = Callable[[Place, Columns], Answer]


def records_of(columns: Columns) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def told(answer: Any) -> Answer:
    names = ("age", "job")
    flags = answer.unknown.tolist()
    return Answer(
        answer.probabilities, [[n for n, f in zip(names, row, strict=True) if f] for row in flags]
    )


def here(make: Callable[[Columns], Any]) -> Door:
    return lambda place, columns: told(place.model.predict(make(columns)))


def client(make: Callable[[Columns], Any]) -> Door:
    def ask(place: Place, columns: Columns) -> Answer:
        with mcdrop.Client(place.url, model="people") as remote:
            return told(remote.predict(make(columns)))

    return ask


def file(suffix: str, write: Callable[[Columns, Path], object]) -> Door:
    def ask(place: Place, columns: Columns) -> Answer:
        source = place.scratch / f"rows.{suffix}"
        write(columns, source)
        score(place.model, source, place.scratch / "answers.parquet")
        table = pq.read_table(place.scratch / "answers.parquet")
        both = [table[f"probability_{name}"] for name in ("no", "yes")]
        return Answer(np.column_stack(both), table["unknown"].to_pylist())

    return ask


def lines(columns: Columns, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in records_of(columns)))


def terminal(place: Place, columns: Columns) -> Answer:
    answers = []
    options = ["--repository", str(place.repository), "--model", "people", "--json"]
    for row in records_of(columns):
        result = CliRunner().invoke(cli.app, ["predict", json.dumps(row), *options])
        if result.exception:
            raise result.exception
        answers.append(json.loads(result.stdout))
    both = [[row["probability_no"], row["probability_yes"]] for row in answers]
    return Answer(both, [row["unknown"] for row in answers])


def posted(place: Place, path: str, body: Any) -> Any:
    response = httpx.post(f"{place.url}{path}", json=body, timeout=30)
    if response.status_code != 200:
        assert response.status_code in (400, 422)
        said = response.json()
        raise InputError(said.get("detail") or said["error"])
    return response.json()


def predict(place: Place, columns: Columns) -> Answer:
    rows = posted(place, "/predict", {"model": "people", "records": records_of(columns)})
    found = rows["predictions"]
    both = [[row["probabilities"]["no"], row["probabilities"]["yes"]] for row in found]
    return Answer(both, [row["unknown"] for row in found])


def infer(binary: bool) -> Door:
    """Tensors of the Open Inference Protocol, as the real client writes them, or with nulls."""

    def tensor(name: str, values: list[Any]) -> Any:
        texts = any(isinstance(value, str) for value in values)
        shape, kind = [len(values), 1], "BYTES" if texts else "FP64"
        if not binary:
            return {"name": name, "shape": shape, "datatype": kind, "data": values}
        found = triton.InferInput(name, shape, kind)
        found.set_data_from_numpy(np.array(values, object if texts else np.float64)[:, None])
        return found

    def ask(place: Place, columns: Columns) -> Answer:
        inputs = [tensor(name, values) for name, values in columns.items()]
        if not binary:
            found = posted(place, "/v2/models/people/infer", {"inputs": inputs})
            outputs = {o["name"]: np.reshape(o["data"], o["shape"]) for o in found["outputs"]}
            return read(outputs["probabilities"], outputs["unknown"])
        with triton.InferenceServerClient(place.url.removeprefix("http://")) as server:
            try:
                answer = server.infer("people", inputs)
            except triton.InferenceServerException as error:
                raise InputError(error.message()) from None
            return read(answer.as_numpy("probabilities"), answer.as_numpy("unknown"))

    def read(probabilities: Any, unknown: Any) -> Answer:
        names = ("age", "job")
        return Answer(probabilities, [[names[i] for i in np.flatnonzero(row)] for row in unknown])

    return ask


TABLES: dict[str, Door] = {
    "columns": here(lambda columns: columns),
    "data frame": here(pd.DataFrame),
    "Arrow": here(pa.table),
    "CSV": file("csv", lambda columns, path: pa_csv.write_csv(pa.table(columns), path)),
    "Parquet": file("parquet", lambda columns, path: pq.write_table(pa.table(columns), path)),
    "Arrow file": file("arrow", lambda c, path: feather.write_feather(pa.table(c), path)),
    "JSON lines": file("jsonl", lines),
    "client, data frame": client(pd.DataFrame),
    "v2": infer(binary=True),
    "v2 in JSON": infer(binary=False),
}
RECORDS: dict[str, Door] = {
    "list": here(records_of),
    "terminal": terminal,
    "client, list": client(records_of),
    "records": predict,
}
DOORS = {**TABLES, **RECORDS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    root = tmp_path_factory.mktemp("repository")
    save_models(root)
    with serving(root) as url:
        yield root, url


@pytest.fixture
def place(server: tuple[Path, str], tmp_path: Path) -> Place:
    root, url = server
    return Place(root, mcdrop.load(root / "people"), url, tmp_path)


@pytest.fixture(params=DOORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def check(answer: Answer, place: Place, records: list[dict[str, Any]]) -> None:
    wanted = told(place.model.predict(records))
    np.testing.assert_allclose(answer.probabilities, wanted.probabilities, rtol=1e-5)
    assert answer.unknown == wanted.unknown


@pytest.mark.parametrize("order", [["age", "job"], ["job", "age"]])
def test_columns_come_in_any_order(place: Place, name: str, order: list[str]) -> None:
    columns = {column: GOOD[column] for column in order}
    check(DOORS[name](place, columns), place, records_of(GOOD))


def test_a_column_too_many_is_left_alone_in_a_table_and_refused_in_a_record(
    place: Place, name: str
) -> None:
    more = {"id": ["a", "b", "c"], **GOOD}
    if name in TABLES:
        check(TABLES[name](place, more), place, records_of(GOOD))
        return
    with pytest.raises(InputError, match=r"row 0 has unknown columns: 'id'; known are 'age'"):
        RECORDS[name](place, more)


def test_a_column_that_is_absent_is_refused_in_a_table_and_missing_in_a_record(
    place: Place, name: str
) -> None:
    less = {"age": GOOD["age"]}
    if name in RECORDS:
        check(RECORDS[name](place, less), place, [{**r, "job": None} for r in records_of(less)])
        assert RECORDS[name](place, less).unknown == [["job"]] * 3
        return
    with pytest.raises(InputError, match=r"the table lacks columns: 'job'; it has 'age'"):
        TABLES[name](place, less)


@pytest.mark.parametrize("wrong", ["Job", "jobs", "jbo"])
def test_a_misspelled_column_is_never_a_missing_value(place: Place, name: str, wrong: str) -> None:
    with pytest.raises(InputError, match=f"{wrong!r} is close to 'job': rename it"):
        DOORS[name](place, {"age": GOOD["age"], wrong: GOOD["job"]})


def test_a_column_of_texts_is_not_made_one_of_numbers(place: Place, name: str) -> None:
    with pytest.raises(InputError, match=r"age|'thirty'"):
        DOORS[name](place, {**GOOD, "age": ["thirty", "forty", "fifty"]})


def test_no_rows_have_no_answers_in_python_and_are_refused_elsewhere(
    place: Place, name: str
) -> None:
    none: Columns = {"age": [], "job": []}
    if name in {"columns", "data frame", "Arrow"}:
        assert len(TABLES[name](place, none).probabilities) == 0
    elif name != "terminal":  # which takes one row
        with pytest.raises(
            InputError,
            match=r"no rows|one record or more|0 rows|at least 1|neither of data|shape \(0,\)",
        ):
            DOORS[name](place, none)


def test_a_row_of_json_lines_may_lack_what_another_row_names(place: Place) -> None:
    rows = [{"job": "smith"}, {"age": 30.0}, {"id": 1}]
    (place.scratch / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer = file("jsonl", lambda *_: None)(place, {})
    check(answer, place, [{"job": "smith"}, {"age": 30.0}, {}])
    with pytest.raises(InputError, match=r"lacks columns: 'job'.*null in a row says that it is"):
        DOORS["JSON lines"](place, {"age": GOOD["age"]})


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"age": 30.0, "job": "smith"}, "a single record, wanted a list of records"),
        ({"job": "smith"}, "a single record"),
        ({"age": [30.0, 31.0], "job": ["smith"]}, "make no table"),
        (pd.DataFrame({"age": [30, "old"], "job": ["smith", "clerk"]}), "make no table.*'old'"),
        (
            pa.Table.from_arrays([pa.array([1.0])] * 3, ["age", "age", "job"]),
            "'age' more than once",
        ),
    ],
)
def test_what_makes_no_table_is_refused(place: Place, rows: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        place.model.predict(rows)
    with mcdrop.Client(place.url, model="people") as remote, pytest.raises(InputError, match=says):
        remote.predict(rows)
