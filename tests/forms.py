"""The same rows in every form a file can have, and the models' preprocessing they are for."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq

from mcdrop.data.preprocessing import (
    ArrayPreprocessing,
    CategoricalColumn,
    NumericColumn,
    TablePreprocessing,
)

IMAGE = ArrayPreprocessing(shape=(2, 3), scale=1 / 255, mean=0, std=1 / 64)
NUMERIC = tuple(NumericColumn(name=n, mean=0, std=1, missing=True) for n in ("age", "size"))
CODE = CategoricalColumn(name="code", categories=("007", "8"), unknown=True, missing=True)
TABLE = TablePreprocessing(numeric=NUMERIC, categorical=(CODE,))
NUMBERS = TablePreprocessing(numeric=NUMERIC, categorical=())

ARRAYS = ("a.npz", "compressed.npz", "columns.npz", "images.npz")
TABLES = ("a.csv", "a.parquet", "lists.parquet", "fixed.pq")
STREAMED = (
    *("a.npy", "images.npy", "a.jsonl", "lists.jsonl", "bare.jsonl"),
    *("a.arrow", "b.feather", "stream.arrows"),
)
UNUSABLE = [  # names and contents of files, and what is said of them, whoever reads them
    ("t.csv", b"age,size,code\n", "no rows"),
    ("t.csv", b"age,code\n1,8\n", "lacks columns: 'size'; it has 'age', 'code'"),
    ("t.csv", b"age,size,code,age\n1,2,8,1\n", "'age' more than once"),
    ("t.parquet", b"PAR1 no footer", "cannot be read"),
    ("t.parquet", b"", "cannot be read"),
    ("t.npz", b"PK no archive", "cannot be read"),
    ("t.npz", b"", "cannot be read"),
]


def pixels(rows: int) -> np.ndarray:
    return np.arange(rows * 6).reshape(rows, 6) % 251


def write(path: Path, x: np.ndarray) -> Path:
    """Write (N, 6) pixels in the form the path's name asks for."""
    stem, suffix = path.name.lower().split(".")
    if suffix in {"npy", "npz"}:
        _write_array(path, stem, x)
        return path
    table = pa.table({f"p{i}": column for i, column in enumerate(x.T)})
    if stem == "lists":
        table = pa.table({"x": x.tolist()})
    elif stem == "fixed":
        flat = pa.array(x.reshape(-1).astype(np.uint8))
        table = pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, 6)})
    if suffix in {"parquet", "pq"}:
        pq.write_table(table, path, row_group_size=7)
    elif suffix == "csv":
        pa_csv.write_csv(table, path)
    elif suffix == "jsonl":
        lines = x.tolist() if stem == "bare" else table.to_pylist()
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    elif suffix == "arrows":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    else:
        feather.write_feather(table, path, chunksize=7)
    return path


def _write_array(path: Path, stem: str, x: np.ndarray) -> None:
    shaped = x.reshape(-1, 2, 3).astype(np.uint8) if stem == "images" else x
    if path.suffix == ".npy":
        np.save(path, shaped)
        return
    save = np.savez_compressed if stem == "compressed" else np.savez
    save(path, x=np.asfortranarray(x) if stem == "columns" else shaped, id=np.arange(len(x)))
