"""The four words for a claim, and how parts of a claim combine to one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Need = Literal["all", "most", "any"]


class Word(StrEnum):
    """What the committed results say of a claim, or of a part of it."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Answer:
    """A word with the numbers that led to it.

    `source` is the committed file with these numbers, relative to the folder of experiments, `basis` says at which
    scale and with how many seeds.
    """

    word: Word
    numbers: str
    basis: str = ""
    source: str = ""


def combined(parts: Sequence[Word], need: Need) -> Word:
    """The word for a claim that says something of all, of most or of any of its parts.

    A part that was not run could be either. A claim of all is refuted by one part, a claim of most by half of them.
    """
    if all(part is Word.NOT_RUN for part in parts):
        return Word.NOT_RUN
    for_it, against = parts.count(Word.SEEN), parts.count(Word.NOT_SEEN)
    seen, refuted = {
        "all": (for_it == len(parts), against > 0),
        "most": (2 * for_it > len(parts), 2 * against >= len(parts)),
        "any": (for_it > 0, against == len(parts)),
    }[need]
    return Word.SEEN if seen else Word.NOT_SEEN if refuted else Word.UNDECIDED


def judged(low: float, high: float, holds_from: float | None, holds_to: float | None) -> Word:
    """Whether a number known to lie in [low, high] lies within [holds_from, holds_to]; None is no limit.

    An unknown bound is nan and decides nothing.
    """
    least = -float("inf") if holds_from is None else holds_from
    most = float("inf") if holds_to is None else holds_to
    if least <= low and high <= most:
        return Word.SEEN
    return Word.NOT_SEEN if high < least or low > most else Word.UNDECIDED
