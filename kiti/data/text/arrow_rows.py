"""Rows of Arrow tables, as Parquet files and the sets of the Hugging Face hub have them."""

from collections.abc import Iterable, Iterator
from typing import Any

import datasets
import pyarrow as pa

from kiti.data import DataError
from kiti.data.text.text_rows import Classes, Columns, Located, missing_column

Translated = list[str] | None
"""The names of a table's own label numbers, where they may be in another order than ours."""


def check_schema(where: str, schema: pa.Schema, columns: Columns, classes: Classes) -> Translated:
    """Check names and types of the columns before any row is read.

    Raises DataError: a column is missing, a text's type is not string, a label's neither string nor integer, or the
    set has another number of classes.
    """
    for key, name in columns._asdict().items():
        if name is None:
            continue
        if name not in schema.names:
            raise DataError(missing_column(where, key, name, schema.names))
        kind = schema.field(name).type
        text = is_text(kind)
        if key == "label":
            if not (text or pa.types.is_integer(kind)):
                raise DataError(f"{where}: {name} has type {kind}, not integer or string; convert the column")
        elif not text:
            raise DataError(f"{where}: {name} has type {kind}, not string; convert the column")
    named = _class_names(schema, columns.label)
    if named is None:
        return None
    if len(named) != classes.number:
        raise DataError(
            f"{where}: {len(named)} classes ({', '.join(named[:8])}), but data.classes={classes.number}; "
            f"set data.classes={len(named)}"
        )
    if classes.names and set(named) != set(classes.names):
        raise DataError(
            f"{where}: its classes are {', '.join(named)}, not {', '.join(classes.names)}; is this another set?"
        )
    return named if classes.names else None


def rows_of_batches(
    where: str, batches: Iterable[pa.RecordBatch | pa.Table], columns: Columns, translated: Translated
) -> Iterator[Located]:
    """The values of `columns` in every row; DataError names a row that is not UTF-8."""
    number = 0
    for batch in batches:
        values = [column_values(where, number, batch.column(name), name) for name in columns.names]
        for row in zip(*values, strict=True):
            number += 1
            *texts, label = row
            if translated and isinstance(label, int) and 0 <= label < len(translated):
                label = translated[label]
            yield Located(f"{where}: row {number}", [*texts, label])


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def column_values(where: str, before: int, column: pa.Array | pa.ChunkedArray, name: str) -> list[Any]:
    """The values of the column `name`, which follows `before` rows; DataError names a row that is not UTF-8."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        for position, value in enumerate(column, before + 1):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{where}: row {position}: {name} is not UTF-8 at byte {error.start + 1}; write the file again"
                ) from None
        raise


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """The names in the schema's metadata, if Hugging Face's `datasets` wrote it with a ClassLabel."""
    feature = datasets.Features.from_arrow_schema(schema).get(label)
    return list(feature.names) if isinstance(feature, datasets.ClassLabel) and feature.names else None
