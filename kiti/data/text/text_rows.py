"""Rows of a text set: one or two texts and a label; and the checks that each row passes."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kiti.data import DataError


class Row(NamedTuple):
    """A text, its partner in a set of pairs, and the number of its class."""

    text: str
    pair: str | None
    label: int


class Columns(NamedTuple):
    """The names of the columns; `pair` is None for single texts."""

    text: str
    pair: str | None
    label: str

    @property
    def names(self) -> list[str]:
        return [name for name in self if name is not None]


class Classes(NamedTuple):
    """How labels are written: numbers from 0 to `number` - 1, or `names` in their order.

    Rows with a label in `unlabelled` are dropped and counted.
    """

    number: int
    names: tuple[str, ...] = ()
    unlabelled: tuple[int | str, ...] = ()


class Located(NamedTuple):
    """A row as a file has it, and where: "train.csv:17". Its `values` are a text, its partner if any, and a label."""

    where: str
    values: Sequence[Any]


def rows_sha256(rows: Iterable[Row]) -> str:
    """sha256 of the content of the rows in their order, whatever file they are in."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def checked_rows(found: Iterable[Located], columns: Columns, classes: Classes) -> tuple[list[Row], Counter[str]]:
    """The labelled rows; and how many were `unlabelled`, and of the others are `empty` or `duplicates` of earlier ones.

    Raises DataError, which names the first row in which a text is not a string or a label not one of the classes.
    """
    rows: list[Row] = []
    counts: Counter[str] = Counter()
    seen: set[tuple[str, str | None]] = set()
    for where, values in found:
        *texts, label = values
        if label in classes.unlabelled and not isinstance(label, bool):
            counts["unlabelled"] += 1
            continue
        for name, text in zip(columns.names, texts, strict=False):
            check_text(where, name, text)
        row = Row(texts[0], texts[1] if len(texts) > 1 else None, _class(where, columns.label, label, classes))
        counts["empty"] += any(not text.strip() for text in texts)
        counts["duplicates"] += row[:2] in seen
        seen.add(row[:2])
        rows.append(row)
    return rows, counts


def common(rows: Iterable[Row], others: Iterable[Row]) -> int:
    """How many of `rows` have texts that are among those of `others`."""
    texts = {row[:2] for row in others}
    return sum(row[:2] in texts for row in rows)


def check_text(where: str, name: str, text: Any) -> None:
    """DataError unless `text` is a string that UTF-8 can hold."""
    if not isinstance(text, str):
        shown = "null" if text is None else f"{str(text)[:40]} ({type(text).__name__})"
        raise DataError(f"{where}: {name} is {shown}, not a string; write a string, an empty one for no text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: {name} has half a surrogate pair at {error.start}; write the character"
            ) from None


def _class(where: str, name: str, label: Any, classes: Classes) -> int:
    if isinstance(label, str):
        if label in classes.names:
            return classes.names.index(label)
        if label.strip().isdecimal():  # CSV has no numbers
            label = int(label)
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < classes.number:
        return label
    shown = "null" if label is None else repr(label)
    named = f" or {', '.join(classes.names)}" if classes.names else ""
    raise DataError(
        f"{where}: {name} {shown} is not one of the classes 0 to {classes.number - 1}{named}; "
        "correct it, or set data.classes"
    )


def missing_column(where: str, key: str, name: str, there: Iterable[str]) -> str:
    """One line: a column is not there, which ones are, and the key that names another."""
    listed = ", ".join(there) or "none"
    return f"{where}: no column {name!r}; there are {listed}; data.columns.{key}=<column> names another"
