"""Rows of a text set: one or two texts and a label."""

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """A text, its partner in a set of pairs, and the number of its class."""

    text: str
    pair: str | None
    label: int


def rows_sha256(rows: Iterable[Row]) -> str:
    """sha256 of the content of the rows in their order, whatever file they are in."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()
