"""Rules on the values of single seeds: rows of different problems, and gains averaged over problems."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from kiti.report import formats
from kiti.report.claims.answers import Answer, Word, combined, judged
from kiti.report.claims.evidence import Evidence, OutputLine
from kiti.report.claims.line_selection import Selection
from kiti.report.sheets.rows import StrictModel
from kiti.report.significance import CONFIDENCE, Comparison, holm, paired


class Place(StrictModel):
    """A row of a problem."""

    group: str
    row: str


class Apart(StrictModel):
    """The first row of each pair is better than the second, which may be of another problem.

    Pairs have the metric `metric` in common. The paired t-test over seeds decides, corrected by Holm for the pairs.
    """

    rule: Literal["apart"]
    sheet: str
    metric: str
    pairs: list[tuple[Place, Place]]
    scale: str | None = None

    def selections(self) -> list[Selection]:
        """The rows that the rule names."""
        return [
            Selection(sheet=self.sheet, rows=[place.row], groups=[place.group], metrics=[self.metric], scale=self.scale)
            for pair in self.pairs
            for place in pair
        ]

    def answer(self, evidence: Evidence) -> Answer:
        """By the corrected p."""
        selection = self.selections()[0]
        scale = selection.scale_in(evidence)
        compared: list[Comparison] = []
        texts, used = [], []
        for pair in self.pairs:
            lines = [selection.line(evidence, place.group, place.row, self.metric) for place in pair]
            ours, theirs = lines
            if ours is None or theirs is None:
                continue
            metric = evidence.metric(self.sheet, scale, ours.group, self.metric)
            found = paired(*(evidence.values(line, metric.factor) for line in (ours, theirs)))
            sign = -1 if metric.higher_is_better is False else 1
            compared.append(replace(found, difference=sign * found.difference))
            texts.append(formats.difference_and_interval(found.difference, found.low, found.high))
            used.append(ours)
        parts = by_sign(compared, 1) + [Word.NOT_RUN] * (len(self.pairs) - len(compared))
        basis = selection.basis(evidence, used)
        return Answer(combined(parts, "all"), "; ".join(texts), basis, selection.source(evidence))


class MeanGain(Selection):
    """The mean over problems and metrics of a row's gain, in the metric's own points, is above `above`.

    `claimed` is the size that the paper gives: the 95 % t interval over seeds has to contain it too.
    """

    rule: Literal["mean_gain"]
    above: float = 0.0
    claimed: str | None = None

    def answer(self, evidence: Evidence) -> Answer:
        """By the interval of the mean over seeds."""
        lines = self.lines(evidence)
        basis, source, expected = self.basis(evidence, lines), self.source(evidence), len(self.expected(evidence))
        if len(lines) < expected:
            word = Word.UNDECIDED if lines else Word.NOT_RUN
            return Answer(word, f"{len(lines)} of {expected} comparisons run", basis, source)
        gains = [gains_by_seed(line, self, evidence) for line in lines]
        seeds = set.intersection(*(set(one) for one in gains))
        means = {seed: sum(one[seed] for one in gains) / len(gains) for seed in seeds}
        found = paired(means, dict.fromkeys(means, 0.0))
        word = judged(found.low, found.high, self.above, None)
        if self.claimed and word is not Word.NOT_SEEN and found.low == found.low:
            covers = found.low <= float(self.claimed) <= found.high
            word = word if covers else Word.NOT_SEEN
        text = formats.difference_and_interval(found.difference, found.low, found.high)
        return Answer(word, f"mean of {expected}: {text} points", basis, source)


class SameParameters(Selection):
    """Rows have as many parameters as their baselines."""

    rule: Literal["same_parameters"]

    def answer(self, evidence: Evidence) -> Answer:
        """By the counts in the records."""
        lines, parts = self.lines(evidence), []
        for line in lines:
            baseline = self.line(evidence, line.group, line.baseline, line.key)
            ours, theirs = (_counts(one, evidence) for one in (line, baseline))
            parts.append(Word.NOT_RUN if not theirs else Word.SEEN if ours == theirs else Word.NOT_SEEN)
        parts += [Word.NOT_RUN] * (len(self.expected(evidence)) - len(lines))
        equal = f"{parts.count(Word.SEEN)} of {len(parts)} pairs have as many parameters"
        return Answer(combined(parts, "all"), equal, self.basis(evidence, lines), self.source(evidence))


def gains_by_seed(line: OutputLine, selection: Selection, evidence: Evidence) -> dict[int, float]:
    """Ours minus the baseline by seed, positive if better."""
    baseline = selection.line(evidence, line.group, line.baseline, line.key)
    if baseline is None:
        return {}
    metric = evidence.metric(selection.sheet, selection.scale_in(evidence), line.group, line.key)
    ours, theirs = (evidence.values(one, metric.factor) for one in (line, baseline))
    sign = -1 if metric.higher_is_better is False else 1
    return {seed: sign * (ours[seed] - theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())}


def over_seeds(values: Mapping[int, float]) -> Comparison:
    """Values by seed compared with 0: their mean, its 95 % t interval and p."""
    return paired(values, dict.fromkeys(values, 0.0))


def by_sign(compared: Sequence[Comparison], sign: int) -> list[Word]:
    """Whether each difference has this sign, by p corrected for their number with Holm's method."""
    words = []
    for one, p in zip(compared, holm([one.p for one in compared]), strict=True):
        decided = p < 1 - CONFIDENCE
        words.append(Word.UNDECIDED if not decided else Word.SEEN if one.difference * sign > 0 else Word.NOT_SEEN)
    return words


def _counts(line: OutputLine | None, evidence: Evidence) -> set[int]:
    """How many parameters the runs of a line have."""
    return {record.parameters for record in evidence.records(line).values()} if line else set()
