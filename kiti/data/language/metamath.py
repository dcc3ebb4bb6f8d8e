"""The prose of a Metamath database: its comments."""

import re
from collections.abc import Iterator

_COMMENT = re.compile(r"\$\((?=\s)(.*?)\s\$\)", re.DOTALL)
_NOT_PROSE = ("@(", "@.", "$p", "$=", "<HTML>", "Contents of this header")
_HEADING = re.compile(r"(?:#\*#\*|=-=-|-\.-\.|####)[#*=.-]*\n")
_RULE = re.compile(r"^[#*=.-]{20,}$", re.MULTILINE)
_ATTRIBUTION = re.compile(r"\( ?(?:[A-Z][^()]* by [^()]*\d{4}|(?:New usage|Proof modification) is discouraged)\.?\)")


def sections(database: str) -> Iterator[str]:
    """Each heading of a part or section, and the comments up to the next one."""
    section: list[str] = []
    for comment, heading in comments(database):
        if heading and section:
            yield "\n\n".join(section) + "\n"
            section = []
        section.append(comment)
    if section:
        yield "\n\n".join(section) + "\n"


def comments(database: str) -> Iterator[tuple[str, bool]]:
    """The comments `$( … $)` as paragraphs, each text once, and whether it is the heading of a part or section.

    Lines are unwrapped; rules around headings, and who contributed when, are taken out. Left out is what is
    not prose: commented-out Metamath, HTML, instructions for typesetting, and the header with its renamed labels.
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
            yield prose, _HEADING.match(text) is not None
