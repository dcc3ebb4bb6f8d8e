"""The rule on what part of its baseline's training a row needs, from sheets of kind steps_to_value."""

import math
from typing import Literal

import pydantic

from kiti.report.claims.answers import Answer, Need, Word, combined
from kiti.report.claims.evidence import Evidence, OutputLine
from kiti.report.claims.line_selection import Selection
from kiti.report.sheets import Ratio, SheetError, StepsSpec
from kiti.report.sheets.rows import StrictModel


class StepsRatio(StrictModel):
    """The rows need less of the baseline's steps, tokens or time: the sheet's corrected verdict decides.

    With `claimed`, the interval of the ratio has to contain that number too.
    """

    rule: Literal["steps_ratio"]
    sheet: str
    rows: list[str]
    groups: list[str] = pydantic.Field(default_factory=list)
    of: Ratio
    claimed: str | None = None
    need: Need = "all"
    scale: str | None = None

    def answer(self, evidence: Evidence) -> Answer:
        """By verdicts, and by the interval of the ratio."""
        selection = Selection(sheet=self.sheet, rows=self.rows, groups=self.groups, scale=self.scale)
        scale = selection.scale_in(evidence)
        sheet = evidence.sheet(self.sheet)
        if not isinstance(sheet, StepsSpec) or self.of not in sheet.ratios:
            raise SheetError(f"{evidence.paper}/{self.sheet} has no ratio of {self.of}")
        expected = {(group, row) for group, row, _, _ in selection.expected(evidence)}
        lines = [
            line
            for line in evidence.output(self.sheet, scale)
            if (line.group, line.row) in expected and self.of in line.cells["ratio_of"].split() and line.cells["n"]
        ]
        parts = [self._part(line) for line in lines]
        parts += [Word.NOT_RUN] * (len(expected) - len(lines))
        text = "; ".join(
            f"{line.group} {line.cells['median']} [{line.cells['ci_low']}, {line.cells['ci_high']}] ({line.verdict})"
            for line in lines
        )
        stand_in = any(line.cells["stand_in"] for line in lines)
        n = f"n {lines[0].cells['n']}" if lines else ""
        basis = ", ".join(part for part in (scale, "stand-in" if stand_in else "", n) if part)
        return Answer(combined(parts, self.need), text, basis, selection.source(evidence))

    def _part(self, line: OutputLine) -> Word:
        if line.verdict.startswith(("more", "less", "fewer")):
            direction = Word.NOT_SEEN if line.verdict.startswith("more") else Word.SEEN
        else:
            direction = Word.UNDECIDED
        if self.claimed is None or direction is Word.NOT_SEEN:
            return direction
        low, high = (_bound(line.cells[column]) for column in ("ci_low", "ci_high"))
        if math.isnan(low[0]):
            return Word.UNDECIDED
        below = float(self.claimed) < low[0]
        above = float(self.claimed) > high[0] and not high[1]
        return Word.NOT_SEEN if below or above else direction


def _bound(cell: str) -> tuple[float, bool]:
    """A bound of the interval, and whether it is only known to be at least that."""
    return float(cell.lstrip(">") or "nan"), cell.startswith(">")
