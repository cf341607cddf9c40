"""The output: committed chunks in their order, in one file or a folder of files.

Knows formats, row groups and how a finished output takes the place of an older one. The bytes
depend on the chunks alone, never on when they came.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from mcdrop.errors import DataError
from mcdrop.scoring.places import is_url, publish

__all__ = ["Format", "Output", "check_output"]

Format = Literal["parquet", "csv", "jsonl", "arrow"]

_SUFFIXES: dict[str, Format] = {
    **{".parquet": "parquet", ".pq": "parquet", ".csv": "csv"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".arrow": "arrow", ".feather": "arrow"},
}
_GROUP = 1 << 16  # rows written at a time, as one row group of a Parquet file
_FILE = 1 << 20  # rows of each file of a folder
MANIFEST = "_manifest.json"


def check_output(output: str, kind: Format | None) -> tuple[Format, bool]:
    """The format of an output, and whether it is a folder.

    Args:
        output: a path or URL; without a suffix that is known, a folder.
        kind: asked for; None for what the suffix says, or Parquet in a folder.

    Raises:
        DataError: nothing can be put there.
    """
    if kind not in {None, *get_args(Format)}:
        raise DataError(f"format {kind!r} is none that can be written: give {get_args(Format)}")
    if output == "-":
        raise DataError("standard output cannot be written: give a file or a folder")
    path = Path(output.rstrip("/"))
    if not output.endswith("/") and path.suffix.lower() in _SUFFIXES:
        found = _SUFFIXES[path.suffix.lower()]
        if kind not in {None, found}:
            raise DataError(f"{output} has the suffix of {found}, not of {kind}: give one of them")
        if not is_url(output) and (path.is_dir() or not path.parent.is_dir()):
            raise DataError(f"{output} cannot be written: give a file in a folder that exists")
        return found, False
    if path.suffix and not output.endswith("/") and not path.is_dir():
        known = ", ".join(_SUFFIXES)
        raise DataError(f"{output} is of no kind that can be written: give {known}, or a folder/")
    if not is_url(output):
        if not path.parent.is_dir():
            raise DataError(f"{output} cannot be written: {path.parent} does not exist")
        if path.exists() and not (path.is_dir() and _is_ours(path)):
            raise DataError(f"{output} holds other files: give a folder that is empty or not there")
    return kind or "parquet", True


def _is_ours(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or not any(folder.iterdir())


class Output:
    """Answers on their way into files.

    Args:
        folder: where to write while it is not complete; emptied.
        schema: of the answers; its metadata go into Parquet and Arrow files.
        kind: of the files.
        many: whether to write a folder of files.
    """

    def __init__(self, folder: Path, schema: pa.Schema, kind: Format, *, many: bool) -> None:
        self._folder, self._schema, self._kind, self._many = folder, schema, kind, many
        self._writer: Any = None
        self._held: list[pa.Table] = []
        self._count = 0
        self._rows: dict[str, int] = {}  # of each file
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self._held.append(table.replace_schema_metadata(self._schema.metadata))
        self._count += len(table)
        if self._count >= _GROUP:
            self._flush()

    def close(self, target: str) -> None:
        """Complete the output and put it in its place."""
        if self._count or not self._rows:
            self._flush()
        self._end()
        if not self._many:
            publish(self._folder / next(iter(self._rows)), target)
            return
        about = {k.decode(): v.decode() for k, v in (self._schema.metadata or {}).items()}
        files = [self._about(name, rows) for name, rows in self._rows.items()]
        text = json.dumps({**about, "files": files}, indent=1)
        (self._folder / MANIFEST).write_text(text + "\n")
        _publish_folder(self._folder, target)

    def _flush(self) -> None:
        if self._writer is None:
            name = f"part-{len(self._rows):05d}.{self._kind}"
            self._writer = _open(self._folder / name, self._schema, self._kind)
            self._rows[name] = 0
        self._writer.write_table(pa.concat_tables([self._schema.empty_table(), *self._held]))
        self._rows[next(reversed(self._rows))] += self._count
        self._held, self._count = [], 0
        if self._many and self._rows[next(reversed(self._rows))] >= _FILE:
            self._end()

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _about(self, name: str, rows: int) -> dict[str, Any]:
        with (self._folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": name, "rows": rows, "sha256": digest}


def _open(path: Path, schema: pa.Schema, kind: Format) -> Any:
    if kind == "parquet":
        texts = [f.name for f in schema if pa.types.is_string(f.type)]
        # Numbers hardly ever come twice: a dictionary of them is made in vain.
        dictionary = [*texts, "prediction_set.list.element", "unknown.list.element"]
        return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=dictionary)
    if kind == "arrow":
        return pa.ipc.new_file(str(path), schema)
    return _CsvWriter(path, schema) if kind == "csv" else _JsonWriter(path)


class _CsvWriter:
    """CSV, which has no lists: lists of labels become texts."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        flat = pa.schema([(f.name, _flat_type(f.type)) for f in schema])
        self._writer = pa_csv.CSVWriter(str(path), flat)

    def write_table(self, table: pa.Table) -> None:
        for i, each in enumerate(table.schema):
            if pa.types.is_list(each.type):
                texts = table[i].cast(pa.list_(pa.string()))
                table = table.set_column(i, each.name, pc.binary_join(texts, "|"))
        self._writer.write_table(table.replace_schema_metadata(None))

    def close(self) -> None:
        self._writer.close()


class _JsonWriter:
    """JSON lines, an object a row; a number that is not finite becomes null."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write_table(self, table: pa.Table) -> None:
        names = table.column_names
        for row in zip(*map(_values, table.columns), strict=True):
            line = orjson.dumps(dict(zip(names, row, strict=True)), default=str)
            self._file.write(line + b"\n")

    def close(self) -> None:
        self._file.close()


def _flat_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_list(kind) else kind


def _values(column: pa.ChunkedArray) -> list[Any]:
    plain = pa.types.is_floating(column.type) and not column.null_count
    values: list[Any] = column.to_numpy().tolist() if plain else column.to_pylist()
    return values


def _publish_folder(folder: Path, target: str) -> None:
    if is_url(target):
        for file in sorted(folder.iterdir(), key=lambda file: file.name == MANIFEST):
            publish(file, f"{target.rstrip('/')}/{file.name}")  # the manifest last
        return
    older = folder.with_name("older")
    if Path(target).exists():
        Path(target).replace(older)
    folder.replace(target)
    shutil.rmtree(older, ignore_errors=True)
