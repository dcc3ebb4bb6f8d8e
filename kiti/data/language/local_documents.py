"""Documents in local files: text, JSONL or Parquet. Without torch."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from kiti.data import DataError
from kiti.data.language.documents import Documents, DocumentSource, Gathered, Position
from kiti.data.language.file_sums import sums_of
from kiti.data.language.shard_names import check_snapshot
from kiti.data.text.text_rows import check_text
from kiti.data.text.utf8_lines import not_utf8, utf8_lines

SUFFIXES = (".txt", ".jsonl", ".parquet")


def find_documents(path: Path) -> list[Path]:
    """The file `path`, or all files with one of SUFFIXES in the folder `path` or below, sorted.

    Raises DataError: there is none, they are of different formats, or of shards one is missing or others lie beside.
    """
    if not path.exists():
        raise DataError(f"{path} is missing; give a file or folder with {_listed('or')}")
    found = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    files = [one for one in found if one.suffix in SUFFIXES]
    if not files:
        raise DataError(f"{path}: no {_listed('or')} file; give a file or folder with documents")
    if len({one.suffix for one in files}) > 1:
        other = next(one for one in files if one.suffix != files[0].suffix)
        raise DataError(f"{path} has {files[0].name} and {other.name}; keep those of one format")
    check_snapshot(files, "copy all shards of one snapshot, and no others")
    return files


class LocalDocuments(DocumentSource):
    """Each text file is a document, and so is the `column` of each object of JSONL and of each row of Parquet.

    Args:
        path: a file or a folder, see `find_documents`.
        column: holds the text.
        sums: where checksums of large files are kept.
    """

    def __init__(self, path: Path, column: str, sums: Path) -> None:
        self.where = str(path)
        self.column = column
        self.files = find_documents(path)
        self.sums = sums
        self.size = sum(file.stat().st_size for file in self.files)

    @cached_property
    def identity(self) -> dict[str, Any]:  # type: ignore[override]
        """The content of the files, wherever they lie."""
        column = None if self.files[0].suffix == ".txt" else self.column
        return {"files": sums_of(self.files, self.sums), "column": column}

    def read(self, position: Position | None) -> Iterator[Documents]:
        start = _Place(**position) if position else _Place(0, 0, 0)
        before = sum(file.stat().st_size for file in self.files[: start.file])
        gathered, after, read = Gathered(), start, before + start.byte
        for number, path in list(enumerate(self.files))[start.file :]:
            since = start if number == start.file else _Place(number, 0, 0)
            try:
                for text, after in _READERS[path.suffix](path, self.column, since):
                    read = before + after.byte
                    if gathered.add(text):
                        yield Documents(gathered.take(), after._asdict(), read)
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror or error}; check the file") from error
            before += path.stat().st_size
        if rest := gathered.take():
            yield Documents(rest, after._asdict(), read)


class _Place(NamedTuple):
    """How far a file has been read: the number of the file, its units (lines, rows or files), and its bytes."""

    file: int
    unit: int
    byte: int


def _text(path: Path, column: str, since: _Place) -> Iterator[tuple[str, _Place]]:
    if since.unit:
        return
    content = path.read_bytes()
    try:
        yield content.decode("utf-8-sig"), _Place(since.file, 1, len(content))
    except UnicodeDecodeError as error:
        before = error.object[: error.start]  # without a byte order mark
        line = before.count(b"\n") + 1
        byte = error.start - before.rfind(b"\n")
        raise DataError(not_utf8(path, line, byte, error.object[error.start])) from None


def _jsonl(path: Path, column: str, since: _Place) -> Iterator[tuple[str, _Place]]:
    for number, line, end in utf8_lines(path, line=since.unit, byte=since.byte):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({_line(error)}); write one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: not a JSON object; write one object a line")
        if column not in row:
            raise DataError(_missing_column(where, column, list(row)))
        check_text(where, column, row[column])
        yield row[column], _Place(since.file, number, end)


def _parquet(path: Path, column: str, since: _Place) -> Iterator[tuple[str, _Place]]:
    import pyarrow as pa  # these take a second to import, and declarations import this module
    import pyarrow.parquet as pq

    from kiti.data.text.arrow_rows import column_values, is_text

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file ({_line(error)}); copy it again") from error
    with file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise DataError(_missing_column(str(path), column, schema.names))
        if not is_text(kind := schema.field(column).type):
            raise DataError(f"{path}: {column} has type {kind}, not string; convert the column")
        row, size = 0, path.stat().st_size
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row + rows <= since.unit:
                row += rows
                continue
            for batch in file.iter_batches(1000, row_groups=[group], columns=[column]):
                for text in column_values(str(path), row, batch.column(column), column):
                    row += 1
                    if row > since.unit:
                        check_text(f"{path}: row {row}", column, text)
                        yield text, _Place(since.file, row, size * row // file.metadata.num_rows)


_READERS = {".txt": _text, ".jsonl": _jsonl, ".parquet": _parquet}


def _missing_column(where: str, column: str, there: list[str]) -> str:
    listed = ", ".join(there) or "none"
    return f"{where}: no column {column!r}; there are {listed}; data.corpora.<name>.column=<column> names another"


def _listed(last: str) -> str:
    return f"{', '.join(SUFFIXES[:-1])} {last} {SUFFIXES[-1]}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
