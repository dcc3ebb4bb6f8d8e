"""Rules on numbers themselves: means over seeds in an output, and what collisions did in training."""

import math
from statistics import fmean
from typing import Literal

import pydantic

from kiti.report import formats
from kiti.report.claims.answers import Answer, Need, Word, combined, judged
from kiti.report.claims.by_seed import over_seeds
from kiti.report.claims.evidence import Evidence
from kiti.report.claims.line_selection import Selection
from kiti.report.sheets import SheetError
from kiti.report.sheets.rows import StrictModel
from kiti.report.significance import half_width
from kiti.storage.records import Record


class Within(StrictModel):
    """The numbers that agree with a claim: from `least` to `most`, one of which may be missing."""

    least: float | None = None
    most: float | None = None

    @pydantic.model_validator(mode="after")
    def _limits(self) -> "Within":
        if self.least is None and self.most is None:
            raise ValueError("a claim on a number requires least or most")
        return self

    def word(self, low: float, high: float) -> Word:
        """Whether a number in [low, high] agrees."""
        return judged(low, high, self.least, self.most)


class Level(Within):
    """The mean over seeds of each of the rows' `metrics` lies within limits, by its 95 % t interval.

    The metrics are keys of records; a row without one of them is left out. Empty groups and rows mean all.
    """

    rule: Literal["level"]
    sheet: str
    metrics: list[str]
    groups: list[str] = pydantic.Field(default_factory=list)
    rows: list[str] = pydantic.Field(default_factory=list)
    scale: str | None = None
    need: Need = "all"

    def answer(self, evidence: Evidence) -> Answer:
        """By the intervals."""
        selection = Selection(sheet=self.sheet, rows=self.rows, groups=self.groups, scale=self.scale)
        scale = selection.scale_in(evidence)
        rows = [
            row
            for row in evidence.table(self.sheet, scale).rows
            if (not self.groups or row.group in self.groups) and (not self.rows or row.label in self.rows)
        ]
        metrics = evidence.table(self.sheet, scale).metrics
        keys = {key for row in rows for metric in metrics for key in row.keys_of(metric)}
        if not rows or not set(self.metrics) <= keys:
            raise SheetError(f"{evidence.paper}/{self.sheet} has no such rows with {', '.join(self.metrics)}")
        names = {(row.group, row.label) for row in rows}
        lines = [
            line
            for line in evidence.output(self.sheet, scale)
            if (line.group, line.row) in names and line.key in self.metrics and line.was_run
        ]
        means = [line.number("mean") for line in lines]
        halves = [half_width(line.number("std"), int(line.cells["n"])) for line in lines]
        parts = [self.word(mean - half, mean + half) for mean, half in zip(means, halves, strict=True)]
        basis, source = selection.basis(evidence, lines), selection.source(evidence)
        return Answer(combined(parts, self.need) if parts else Word.NOT_RUN, _summary(means, parts), basis, source)


class InTraining(Within):
    """What collisions did in the training of each row, by the 95 % t interval over seeds.

    `pairs`: colliding pairs a system, mean over modules, each with `features` features. `energy`: the kinetic energy
    after collisions over that before, largest over modules. If seeds were trained side by side, records have one number
    for all of them.
    """

    rule: Literal["in_training"]
    quantity: Literal["pairs", "energy"]
    sheet: str
    rows: list[str]
    groups: list[str] = pydantic.Field(default_factory=list)
    features: int | None = None
    scale: str | None = None

    @pydantic.model_validator(mode="after")
    def _pairs_need_features(self) -> "InTraining":
        if (self.quantity == "pairs") != (self.features is not None):
            raise ValueError("features are required for pairs, and for them alone")
        return self

    def answer(self, evidence: Evidence) -> Answer:
        """By the intervals."""
        selection = Selection(sheet=self.sheet, rows=self.rows, groups=self.groups, scale=self.scale)
        expected = selection.expected(evidence)
        lines = selection.lines(evidence)
        parts, means = [], []
        for line in lines:
            found = over_seeds({seed: self._of(one) for seed, one in evidence.records(line).items()})
            parts.append(self.word(found.low, found.high))
            means.append(found.difference)
        text = _summary(means, parts)
        parts += [Word.NOT_RUN] * (len(expected) - len(lines))
        return Answer(combined(parts, "all"), text, selection.basis(evidence, lines), selection.source(evidence))

    def _of(self, record: Record) -> float:
        found = (record.collisions or {}).values()
        if not found:
            return math.nan
        if self.quantity == "energy":
            return max(one["energy_ratio"] for one in found)
        particles = (self.features or 0) // record.config["residual"]["collision_heads"]
        return fmean(one["partners"] * particles / 2 for one in found)


def _summary(means: list[float], parts: list[Word]) -> str:
    """How many numbers agree, and where they lie."""
    if not means:
        return ""
    ends = dict.fromkeys(formats.plain(one, 3) for one in (min(means), max(means)))
    counts = ", ".join(
        f"{parts.count(word)} {name}"
        for word, name in ((Word.SEEN, "within"), (Word.NOT_SEEN, "outside"), (Word.UNDECIDED, "undecided"))
        if parts.count(word)
    )
    return f"{' to '.join(ends)}; {counts} of {len(parts)}"
