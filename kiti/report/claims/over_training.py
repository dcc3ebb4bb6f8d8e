"""Rules on the course of a quantity over the training, from the records of the seeds."""

import math
from statistics import median
from typing import Literal

import numpy as np
import pydantic
from scipy import special

from kiti.report import formats
from kiti.report.claims.answers import Answer, Need, Word, combined
from kiti.report.claims.by_seed import by_sign, over_seeds
from kiti.report.claims.evidence import Evidence, OutputLine
from kiti.report.claims.line_selection import Selection
from kiti.report.courses import Course, course
from kiti.report.sheets import SheetError
from kiti.report.sheets.rows import StrictModel
from kiti.report.significance import CONFIDENCE


class Curves(StrictModel):
    """Each of `rows` against `against`, by the quantity that records have as `<quantity>@<epoch>`."""

    sheet: str
    groups: list[str]
    rows: list[str]
    against: str
    quantity: str
    scale: str | None = None
    need: Need = "all"

    def selection(self) -> Selection:
        """What finds the lines of these rows."""
        return Selection(sheet=self.sheet, rows=[*self.rows, self.against], groups=self.groups, scale=self.scale)

    def pairs(self, evidence: Evidence) -> dict[str, tuple[OutputLine, OutputLine] | None]:
        """The lines of a row and its baseline by name of the comparison; None where one was not run."""
        found: dict[str, tuple[OutputLine, OutputLine] | None] = {}
        known = {(row.group, row.label) for row in evidence.table(self.sheet, self.selection().scale_in(evidence)).rows}
        for group in self.groups:
            for row in self.rows:
                if missing := {(group, row), (group, self.against)} - known:
                    raise SheetError(f"{evidence.paper}/{self.sheet} has no row {', '.join(map(str, sorted(missing)))}")
                ours, theirs = (self._any_line(evidence, group, label) for label in (row, self.against))
                found[f"{group} {row}"] = (ours, theirs) if ours and theirs else None
        return found

    def courses(self, evidence: Evidence, pair: tuple[OutputLine, OutputLine]) -> dict[int, tuple[Course, Course]]:
        """Both courses over epochs by seed."""
        ours, theirs = (
            {seed: course(record, self.quantity, True, 1) for seed, record in evidence.records(line).items()}
            for line in pair
        )
        return {seed: (ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())}

    def _any_line(self, evidence: Evidence, group: str, row: str) -> OutputLine | None:
        lines = evidence.output(self.sheet, self.selection().scale_in(evidence))
        return next((one for one in lines if (one.group, one.row) == (group, row) and one.was_run), None)

    def answered(self, evidence: Evidence, parts: list[Word], texts: list[str]) -> Answer:
        """The answer for these parts."""
        lines = [pair[0] for pair in self.pairs(evidence).values() if pair]
        selection = self.selection()
        basis = selection.basis(evidence, lines)
        return Answer(combined(parts, self.need), "; ".join(texts), basis, selection.source(evidence))


class Gap(Curves):
    """The curve of a row runs below (or above) that of its baseline: the mean difference over `epochs`.

    The difference is averaged over the epochs of a seed, by trapezoids. The t-test over seeds decides, corrected by
    Holm for the pairs of curves. By default the epochs are all that records have.
    """

    rule: Literal["gap"]
    runs: Literal["below", "above"]
    epochs: list[int] = pydantic.Field(default_factory=list)

    def answer(self, evidence: Evidence) -> Answer:
        """By the corrected p of the area between the curves."""
        compared, texts = [], []
        pairs = self.pairs(evidence)
        for name, pair in pairs.items():
            if pair is None:
                continue
            found = over_seeds({seed: self._area(*both) for seed, both in self.courses(evidence, pair).items()})
            compared.append(found)
            texts.append(f"{name} {formats.difference_and_interval(found.difference, found.low, found.high)}")
        parts = by_sign(compared, -1 if self.runs == "below" else 1)
        parts += [Word.NOT_RUN] * (len(pairs) - len(compared))
        return self.answered(evidence, parts, texts)

    def _area(self, ours: Course, theirs: Course) -> float:
        """The mean difference over the epochs."""
        if list(ours.places) != list(theirs.places):
            raise SheetError(f"{self.sheet}: records of {self.quantity} have different epochs")
        chosen = np.isin(ours.places, self.epochs) if self.epochs else np.ones(len(ours.places), dtype=bool)
        places, gaps = ours.places[chosen], (ours.values - theirs.values)[chosen]
        if len(places) < 2:
            return float(gaps.mean()) if len(places) else math.nan
        return float(np.trapezoid(gaps, places) / (places[-1] - places[0]))


class Reaches(Curves):
    """A row reaches `value` in fewer epochs than its baseline, seed by seed.

    Between two epochs with a value the course is linear. A seed that never reaches the value is later than one that
    does. The two-sided sign test decides.
    """

    rule: Literal["reaches"]
    value: float = pydantic.Field(gt=0)

    def answer(self, evidence: Evidence) -> Answer:
        """By the sign test."""
        parts, texts = [], []
        for name, pair in self.pairs(evidence).items():
            if pair is None:
                parts.append(Word.NOT_RUN)
                continue
            firsts = [tuple(one.first(self.value) for one in both) for both in self.courses(evidence, pair).values()]
            ahead = sum(ours < theirs for ours, theirs in firsts)
            behind = sum(ours > theirs for ours, theirs in firsts)
            parts.append(_by_sign_test(ahead, behind))
            ours, theirs = (median(side) for side in zip(*firsts, strict=True))
            texts.append(
                f"{name}: epoch {_epoch(ours)} against {_epoch(theirs)}, "
                f"earlier in {ahead}, later in {behind} of {len(firsts)}"
            )
        return self.answered(evidence, parts, texts)


def _by_sign_test(ahead: int, behind: int) -> Word:
    split = ahead + behind
    p = min(1.0, 2 * float(special.bdtr(min(ahead, behind), split, 0.5))) if split else 1.0
    if p >= 1 - CONFIDENCE:
        return Word.UNDECIDED
    return Word.SEEN if ahead > behind else Word.NOT_SEEN


def _epoch(place: float) -> str:
    return formats.plain(place, 3) if math.isfinite(place) else "never"
