"""Documents of a sensible length, cut from the sources of the stand-in corpora.

A source is cut into pieces where a reader would, and consecutive pieces are joined until a document has LEAST
characters. Each character depends on the source alone, not on the Python that runs this.
"""

import re
from collections.abc import Iterable, Iterator

LEAST = 2000
"""The fewest characters of a document, unless its source has fewer: some 500 tokens, several contexts of 128."""

_UNDERLINE = re.compile(r"""([-=~^"*#+])\1{2,}\s*""")
_TOP_LEVEL = re.compile(r"(?<=\n\n)(?=\S)")
_COMMENT = re.compile(r"\$\((?=\s)(.*?)\s\$\)", re.DOTALL)
_NOT_PROSE = ("@(", "@.", "$p", "$=", "Contents of this header")
_RULE = re.compile(r"^[#*=.-]{20,}$", re.MULTILINE)
_ATTRIBUTION = re.compile(r"\( ?(?:[A-Z][^()]* by [^()]*\d{4}|(?:New usage|Proof modification) is discouraged)\.?\)")


def joined(pieces: Iterable[str], least: int = LEAST) -> list[str]:
    """Consecutive pieces as documents of at least `least` characters; a rest that is shorter joins the last one."""
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


def comments(database: str) -> Iterator[str]:
    """The comments `$( ... $)` of a Metamath database as paragraphs, each text once.

    Lines are unwrapped; rules around headings, and who contributed when, are taken out. Commented-out Metamath,
    instructions for typesetting, and the header with its list of renamed labels are not prose and are left out.
    """
    seen: set[str] = set()
    for comment in _COMMENT.findall(database):
        text = comment.strip()
        if text.startswith(("$t", "$j")) or any(mark in text for mark in _NOT_PROSE):
            continue
        paragraphs = re.split(r"\n\s*\n", _RULE.sub("\n\n", text))
        cleaned = [" ".join(_ATTRIBUTION.sub(" ", " ".join(part.split())).split()) for part in paragraphs]
        prose = "\n".join(part for part in cleaned if part)
        if prose and prose not in seen:
            seen.add(prose)
            yield prose + "\n\n"
