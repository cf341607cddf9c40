"""What becomes of columns and pictures: the model's are encoded, others carried through."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.places import find
from mcdrop.scoring.rows import CHUNK
from mcdrop.scoring.sources import Sources
from tests.forms import IMAGE, TABLE, pixels
from tests.scoring.sources.reading import joined, read


def test_types_come_from_the_model_and_not_from_the_first_rows(tmp_path) -> None:
    text = "note,code,size,age\n" + "n,007,1,\n" * CHUNK + 'n,"8",2.5,30\n"n\nn",,nan,1e2\n'
    (tmp_path / "t.csv").write_text(text)
    x, kept = joined(read(tmp_path / "t.csv", TABLE, keep=["note", "age"]))
    expected = [{"code": "8", "size": 2.5, "age": 30}, {"size": None, "age": 100}]
    np.testing.assert_array_equal(x[-2:], TABLE.encode(expected))
    assert kept["note"][-2:] == ["n", "n\nn"]
    assert kept["age"][-3:] == [None, "30", "1e2"]  # as it stands


def test_kept_columns_have_the_types_of_the_source(tmp_path) -> None:
    table = pa.table(
        {"note": ["a", "b"], "code": ["8", "8"], "size": [1, 2], "age": [3, 4], "day": [5, 6]}
    )
    table = table.set_column(4, "day", table["day"].cast(pa.int32()).cast(pa.date32()))
    pq.write_table(table, tmp_path / "t.parquet")
    feather.write_feather(table, tmp_path / "t.feather")
    for name in ("t.parquet", "t.feather"):
        sources = Sources(find(str(tmp_path / name)), TABLE, ["*"])
        assert sources.fields.equals(table.schema)
        x, kept = joined(read(tmp_path / name, TABLE, keep=["*"]))
        np.testing.assert_array_equal(x, TABLE.encode(table.select(["age", "size", "code"])))
        assert kept == table.to_pydict()
    rows = [{"id": 1, "n": "a", "age": 3, "f": 1.5, "ok": True}, {"id": 2, "n": "b", "size": 1.0}]
    rows[1]["code"] = None
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    x, kept = joined(read(tmp_path / "t.jsonl", TABLE, keep=["id", "n", "f", "ok"]))
    assert kept == {"id": [1, 2], "n": ["a", "b"], "f": [1.5, None], "ok": [True, None]}
    np.testing.assert_array_equal(x, TABLE.encode([{"age": 3}, {"size": 1.0}]))


def test_arrays_keep_columns_besides_their_own(tmp_path) -> None:
    x = pixels(5)
    table = pa.table({"id": list("abcde")} | {f"p{i}": c for i, c in enumerate(x.T)})
    pa_csv.write_csv(table, tmp_path / "t.csv")
    found, kept = joined(read(tmp_path / "t.csv", keep=["id"]))
    np.testing.assert_array_equal(found, IMAGE.encode(x))
    assert kept == {"id": list("abcde")}
    with pytest.raises(DataError, match=r"7 columns, wanted exactly the 6"):
        read(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"no column 'ID' to keep"):
        read(tmp_path / "t.csv", keep=["ID"])
    np.savez(tmp_path / "t.npz", x=x, name=np.array(list("abcde")), y=np.zeros((5, 2)))
    assert joined(read(tmp_path / "t.npz", keep=["name"]))[1] == {"name": list("abcde")}
    with pytest.raises(DataError, match=r"y has the shape \(5, 2\)"):
        read(tmp_path / "t.npz", keep=["y"])
    np.save(tmp_path / "t.npy", x)
    with pytest.raises(DataError, match=r"no column 'id'"):
        read(tmp_path / "t.npy", keep=["id"])


def test_a_column_of_a_wrong_type_is_refused_at_once(tmp_path) -> None:
    pq.write_table(pa.table({f"p{i}": ["1"] for i in range(6)}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'p0' holds string"):
        read(tmp_path / "t.parquet")
    pq.write_table(pa.table({"age": ["1"], "size": [1], "code": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'age' holds string"):
        read(tmp_path / "t.parquet", TABLE)


def test_pictures_become_what_the_model_was_trained_on(tmp_path, small, rng) -> None:
    gray = rng.integers(0, 256, (20, 2, 3), np.uint8)
    names = [f"{i:02d}.png" for i in range(20)]
    for name, picture in zip(names, gray, strict=True):
        Image.fromarray(picture).save(tmp_path / name)
    Image.fromarray(np.full((40, 60, 3), 100, np.uint8)).save(tmp_path / "20.png")  # color, large
    Image.new("RGBA", (3, 2), (255, 255, 255, 0)).save(tmp_path / "21.png")  # transparent
    (tmp_path / "07.png").write_bytes(b"no picture")
    chunks = read(tmp_path, keep=["_file"])
    x, kept = joined(chunks)
    assert kept["_file"] == [
        str(tmp_path / n) for n in [*names, "20.png", "21.png"] if n != names[7]
    ]
    np.testing.assert_array_equal(x[:19], IMAGE.encode(np.delete(gray, 7, axis=0)))
    np.testing.assert_allclose(x[19] * (255 / 64), 100, atol=1)
    np.testing.assert_array_equal(x[20], 0)
    (bad,) = [bad for chunk in chunks for bad in chunk.rejected]
    assert (bad.file, bad.row) == (str(tmp_path / "07.png"), 0)
    assert "no picture" in bad.reason
    half = ArrayPreprocessing(shape=(2, 3), scale=1, mean=0, std=1, minimum=2, maximum=18)
    x, _ = joined(read(tmp_path / "00.png", half))
    np.testing.assert_allclose(x[0], 2 + gray[0].reshape(-1) * (16 / 255), rtol=1e-6)


def test_deep_and_colored_pictures_keep_what_they_hold(tmp_path, rng) -> None:
    gray = rng.integers(0, 256, (2, 3), np.uint8)
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    x, _ = joined(read(tmp_path / "deep.png"))
    np.testing.assert_allclose(x[0] * (255 / 64), gray.reshape(-1), atol=1)
    colors = rng.integers(0, 256, (2, 3, 3), np.uint8)
    Image.fromarray(colors).save(tmp_path / "colored.png")
    step = ArrayPreprocessing(shape=(3, 2, 3), scale=1, mean=0, std=1)
    x, _ = joined(read(tmp_path / "colored.png", step))
    np.testing.assert_array_equal(x[0], np.moveaxis(colors, -1, 0).reshape(-1))
