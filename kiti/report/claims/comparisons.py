"""Rules on comparisons of a table's rows: their verdicts, the share with a sign, the size of a printed effect."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import pydantic
from scipy import special

from kiti.report import formats
from kiti.report.claims.answers import Answer, Need, Word, combined, judged
from kiti.report.claims.evidence import Evidence, OutputLine
from kiti.report.claims.line_selection import DECIDED, Selection, words
from kiti.report.significance import CONFIDENCE, UNDECIDED

SHOWN = 4
"""So many comparisons at most are shown one by one."""

Verdict = Literal["better", "worse", "higher", "lower", "equivalent"]
GAIN: tuple[Verdict, ...] = ("better",)


class Verdicts(Selection):
    """All, most or any of the comparisons have one of the verdicts `wants`.

    Another decided verdict speaks against it, an undecided one for neither.
    """

    rule: Literal["verdicts"]
    need: Need = "all"
    wants: list[Verdict] = pydantic.Field(default_factory=lambda: list(GAIN))

    def answer(self, evidence: Evidence) -> Answer:
        """By the corrected verdicts."""
        lines = self.lines(evidence)
        found = words(lines, self, evidence)
        parts = [_part(word, self.wants) for word in found]
        parts += [Word.NOT_RUN] * (len(self.expected(evidence)) - len(lines))
        numbers = verdict_text(lines, found, len(parts))
        return Answer(combined(parts, self.need), numbers, self.basis(evidence, lines), self.source(evidence))


class Share(Selection):
    """In more than half of the comparisons the mean is on the better side.

    Decided by the 95 % interval of Clopper and Pearson for the share, which takes the comparisons as independent. Equal
    means do not count.
    """

    rule: Literal["share"]

    def answer(self, evidence: Evidence) -> Answer:
        """By the interval of the share."""
        lines = self.lines(evidence)
        basis, source = self.basis(evidence, lines), self.source(evidence)
        expected = len(self.expected(evidence))
        if len(lines) < expected:
            word = Word.UNDECIDED if lines else Word.NOT_RUN
            return Answer(word, f"{len(lines)} of {expected} comparisons run", basis, source)
        signs = [_gain(line, self, evidence) for line in lines if line.number("difference") != 0]
        better = sum(sign > 0 for sign in signs)
        low, high = share_interval(better, len(signs))
        text = f"{better} of {len(signs)} means better; share [{low:.2f}, {high:.2f}]"
        return Answer(judged(low, high, 0.5, None) if signs else Word.UNDECIDED, text, basis, source)


class Effect(Selection):
    """Each comparison is decided in the printed direction, and its interval has the printed size.

    The verdicts decide the direction. An interval without the printed effect speaks against the claim.
    """

    rule: Literal["effect"]

    def answer(self, evidence: Evidence) -> Answer:
        """By verdicts and intervals."""
        lines = self.lines(evidence)
        found = words(lines, self, evidence)
        parts = [_sized(line, word) for line, word in zip(lines, found, strict=True)]
        parts += [Word.NOT_RUN] * (len(self.expected(evidence)) - len(lines))
        text = verdict_text(lines, found, len(parts))
        return Answer(combined(parts, "all"), text, self.basis(evidence, lines), self.source(evidence))


def share_interval(successes: int, of: int) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson for a share."""
    tail = (1 - CONFIDENCE) / 2
    low = float(special.betaincinv(successes, of - successes + 1, tail)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, of - successes, 1 - tail)) if successes < of else 1.0
    return low, high


def effect_text(line: OutputLine) -> str:
    """`-8.9 % [-24.4, +6.7]`."""
    return formats.effect_and_interval(*line.effect(), line.unit).replace("\n", " ")


def verdict_text(lines: list[OutputLine], found: list[str], of: int) -> str:
    """The comparisons one by one if they are few, else how many have each verdict and where the effects lie."""
    if not lines:
        return ""
    if of <= SHOWN:
        return "; ".join(
            f"{name} {effect_text(line)} ({word})".strip()
            for name, line, word in zip(_names(lines), lines, found, strict=True)
        )
    counts = ", ".join(f"{count} {word}" for word, count in Counter(found).most_common())
    missing = f", {of - len(lines)} not run" if len(lines) < of else ""
    effects = sorted((line.effect()[0], line.unit) for line in lines)
    units = {unit for _, unit in effects}
    span = f"; Δ {formats.effect(*effects[0])} to {formats.effect(*effects[-1])}" if len(units) == 1 else ""
    return f"{counts}{missing} of {of}{span}"


def _names(lines: list[OutputLine]) -> list[str]:
    """What tells the lines apart, in as few words as possible: nothing, problem, row or metric, or several of them."""
    parts = [(line.group, line.row, line.key) for line in lines]
    choices = [places for count in range(4) for places in combinations(range(3), count)]
    named = [[" ".join(one[place] for place in places) for one in parts] for places in choices]
    return next((names for names in named if len(set(names)) == len(names)), named[-1])


def _part(word: str, wants: Sequence[Verdict]) -> Word:
    return Word.SEEN if word in wants else Word.NOT_SEEN if word in DECIDED else Word.UNDECIDED


def _gain(line: OutputLine, selection: Selection, evidence: Evidence) -> float:
    metric = evidence.metric(selection.sheet, selection.scale_in(evidence), line.group, line.key)
    return line.number("difference") * (-1 if metric.higher_is_better is False else 1)


def _sized(line: OutputLine, word: str) -> Word:
    if word not in (*DECIDED, UNDECIDED):  # one seed, not learnt, diverged
        return Word.UNDECIDED
    direction = _part(word, GAIN)
    printed, (_, low, high) = line.number("printed_effect"), line.effect()
    covers = low <= printed <= high
    if direction is Word.NOT_SEEN or (low == low and not covers):
        return Word.NOT_SEEN
    return Word.SEEN if direction is Word.SEEN and covers else Word.UNDECIDED
