"""Reads rows of texts and labels from Parquet, JSONL and CSV files, and names the file and line that is wrong."""

import csv
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kiti.data import DataError
from kiti.data.text.arrow_rows import check_schema, rows_of_batches
from kiti.data.text.text_rows import Classes, Columns, Located, missing_column
from kiti.data.text.utf8_lines import utf8_lines

_ROWS_AT_ONCE = 1000


def find_files(folder: Path, split: str) -> list[Path]:
    """`<split>` or `<split>-*` with a suffix of READERS, in `folder` or below, sorted; empty if there is none.

    Raises DataError if they have different suffixes.
    """
    found = sorted(
        path
        for suffix in READERS
        for pattern in (f"{split}{suffix}", f"{split}-*{suffix}")
        for path in folder.rglob(pattern)
        if path.is_file()
    )
    if len({path.suffix for path in found}) > 1:
        raise DataError(f"{folder} has {found[0].name} and {found[-1].name}; keep those of one format")
    if len({path.parent for path in found}) > 1:
        raise DataError(f"{folder} has {found[0]} and {found[-1]}; give the folder of one of them as data.path")
    return found


def find_splits(folder: Path, splits: Mapping[str, int], columns: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each split that is there. DataError if one is missing whose number of rows in `splits` is not 0."""
    files = {split: found for split in splits if (found := find_files(folder, split))}
    needed = [split for split, rows in splits.items() if rows]
    for split in needed:
        if split not in files:
            raise DataError(
                f"{folder} has no {split}.parquet, .jsonl or .csv; it needs {' and '.join(needed)} with the columns "
                f"{', '.join(columns)}"
            )
    return files


def read_file(path: Path, columns: Columns, classes: Classes) -> Iterator[Located]:
    """The values of `columns` in every row. DataError if the file or a row cannot be read, or a column is missing."""
    try:
        yield from READERS[path.suffix](path, columns, classes)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check the file") from error


def _parquet(path: Path, columns: Columns, classes: Classes) -> Iterator[Located]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file ({_line(error)}); copy it again") from error
    with file:
        translated = check_schema(str(path), file.schema_arrow, columns, classes)
        batches = file.iter_batches(_ROWS_AT_ONCE, columns=columns.names)
        yield from rows_of_batches(str(path), batches, columns, translated)


def _jsonl(path: Path, columns: Columns, classes: Classes) -> Iterator[Located]:
    for number, line, _ in utf8_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({_line(error)}); write one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: not a JSON object; write one object a line")
        _check_columns(where, row.keys(), columns)
        yield Located(where, [row[name] for name in columns.names])


def _csv(path: Path, columns: Columns, classes: Classes) -> Iterator[Located]:
    csv.field_size_limit(sys.maxsize)  # of 131,072 characters otherwise
    reader = csv.reader((line for _, line, _ in utf8_lines(path)), strict=True)
    before = 0
    try:
        header = next(reader, [])
        _check_columns(f"{path}:1", header, columns)
        places = [header.index(name) for name in columns.names]
        before = reader.line_num
        for fields in reader:
            where, before = f"{path}:{before + 1}", reader.line_num
            if not fields:
                continue
            if len(fields) != len(header):
                raise DataError(
                    f"{where}: {len(fields)} fields, but {len(header)} columns; put texts with commas into quotes"
                )
            yield Located(where, [fields[place] for place in places])
    except csv.Error as error:
        raise DataError(
            f"{path}:{before + 1}: not CSV ({error}); put texts into quotes, and double those in them"
        ) from error


READERS: dict[str, Callable[[Path, Columns, Classes], Iterator[Located]]] = {
    ".parquet": _parquet,
    ".jsonl": _jsonl,
    ".csv": _csv,
}
"""By suffix."""


def _check_columns(where: str, there: Collection[str], columns: Columns) -> None:
    for key, name in columns._asdict().items():
        if name is not None and name not in there:
            raise DataError(missing_column(where, key, name, there))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
