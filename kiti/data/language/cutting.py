"""Long sources cut into documents where a reader would cut them, by their text alone."""

import re
from collections.abc import Iterable, Iterator

_UNDERLINE = re.compile(r"""([-=~^"*#+])\1{2,}\s*""")
_TOP_LEVEL = re.compile(r"(?<=\n\n)(?=\S)")


def joined(pieces: Iterable[str], least: int) -> list[str]:
    """Consecutive pieces of a source as documents of at least `least` characters; a shorter rest joins the last one.

    So a source of fewer than twice `least` characters is mostly one document, and one without text is none.
    """
    documents: list[str] = []
    rest = ""
    for piece in pieces:
        rest += piece
        if len(rest) >= least:
            documents.append(rest)
            rest = ""
    if rest and documents:
        documents[-1] += rest
    elif rest:
        documents.append(rest)
    return [text for text in (document.strip("\n") + "\n" for document in documents) if text.strip()]


def sections(page: str) -> Iterator[str]:
    """A page of reStructuredText, cut before each heading."""
    lines = page.splitlines(keepends=True)
    starts = [0]
    for i in range(1, len(lines) - 1):
        title, below = lines[i], lines[i + 1]
        if title[0].isspace() or _UNDERLINE.fullmatch(title) or not _UNDERLINE.fullmatch(below):
            continue
        if len(below.rstrip()) >= len(title.rstrip()):
            starts.append(i - 1 if _UNDERLINE.fullmatch(lines[i - 1]) else i)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield "".join(lines[start:end])


def statements(module: str) -> list[str]:
    """A Python module, cut after each empty line that something unindented follows."""
    return _TOP_LEVEL.split(module)
