"""Reads lines of UTF-8, and names the byte that is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kiti.data import DataError


class Line(NamedTuple):
    """A line with its end: its number from 1, its text without a byte order mark, and the position of what follows."""

    number: int
    text: str
    end: int


def utf8_lines(path: Path, *, line: int = 0, byte: int = 0) -> Iterator[Line]:
    """The lines of a file, or those after `line` lines, which end at `byte`. DataError names a line that is not UTF-8.

    Lines end at a newline alone, as in JSONL.
    """
    with path.open("rb") as file:
        file.seek(byte)
        for number, content in enumerate(file, line + 1):
            byte += len(content)
            try:
                yield Line(number, content.decode("utf-8-sig" if number == 1 else "utf-8"), byte)
            except UnicodeDecodeError as error:
                raise DataError(not_utf8(path, number, error.start + 1, content[error.start])) from None


def not_utf8(path: Path, line: int, byte: int, value: int) -> str:
    """One line: which byte of which line, both from 1, is not UTF-8, and how to convert the file."""
    return (
        f"{path}:{line}: byte {byte} ({value:#04x}) is not UTF-8; "
        "convert the file, for example with iconv -f WINDOWS-1252 -t UTF-8"
    )
