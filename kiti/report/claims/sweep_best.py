"""The rule on the best values of two sweeps: are they apart?"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from kiti.report.claims.answers import Answer, Word
from kiti.report.claims.evidence import Evidence
from kiti.report.claims.line_selection import Selection
from kiti.report.sheets import SheetError
from kiti.report.sheets.rows import StrictModel
from kiti.report.significance import CONFIDENCE

DRAWS = 10_000


class BestValues(StrictModel):
    """The best value of the swept key differs between the sheets, each a figure of one sweep.

    The best value is that of the least mean over seeds. Seeds are drawn anew with replacement; the 95 % interval of the
    difference between two best values decides. Below two seeds nothing is decided.
    """

    rule: Literal["best_values"]
    sheets: tuple[str, str]
    metric: str
    scale: str | None = None

    def answer(self, evidence: Evidence) -> Answer:
        """By the bootstrap interval of the difference."""
        drawn, texts, lines = [], [], []
        selection = Selection(sheet=self.sheets[0], rows=[], scale=self.scale)
        for number, name in enumerate(self.sheets):
            values = self._values(evidence, name)
            if not values:
                return Answer(Word.NOT_RUN, "", source=selection.source(evidence))
            best, draws = best_and_draws(values, number)
            low, high = _interval(draws)
            drawn.append(draws)
            texts.append(f"{name} {best:g} [{low:g}, {high:g}]")
            scale = Selection(sheet=name, rows=[], scale=self.scale).scale_in(evidence)
            lines += [line for line in evidence.output(name, scale) if line.key == self.metric and line.n]
        low, high = _interval(drawn[0] - drawn[1])
        word = Word.SEEN if low > 0 or high < 0 else Word.NOT_SEEN if low == high == 0 else Word.UNDECIDED
        text = f"{'; '.join(texts)}; difference [{low:g}, {high:g}]"
        return Answer(word, text, selection.basis(evidence, lines), selection.source(evidence))

    def _values(self, evidence: Evidence, name: str) -> dict[float, dict[int, float]]:
        """The metric by seed, for each value of the key; empty if a point was not run."""
        scale = Selection(sheet=name, rows=[], scale=self.scale).scale_in(evidence)
        sheet = evidence.sheet(name)
        if sheet.kind != "figure":
            raise SheetError(f"{evidence.paper}/{name} is no figure of a sweep")
        points = {sheet.point(value): float(value) for value in sheet.x.values}
        lines = [one for one in evidence.output(name, scale) if one.row in points and one.key == self.metric]
        found = {points[line.row]: evidence.values(line) for line in lines if line.was_run}
        return found if len(found) == len(points) else {}


def best_and_draws(values: Mapping[float, Mapping[int, float]], stream: int) -> tuple[float, np.ndarray]:
    """The value with the least mean over seeds, and the same for each draw of seeds.

    The draws of a `stream` are always the same, and independent of other streams'.
    """
    seeds = sorted(set.intersection(*(set(one) for one in values.values())))
    keys = np.array(sorted(values))
    table = np.array([[values[key][seed] for seed in seeds] for key in sorted(values)])
    drawn = np.random.default_rng(stream).integers(len(seeds), size=(DRAWS, len(seeds)))
    means = table[:, drawn].mean(axis=2)  # values x draws
    return float(keys[table.mean(axis=1).argmin()]), keys[means.argmin(axis=0)]


def _interval(draws: np.ndarray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(np.quantile(draws, share, method="inverted_cdf")) for share in (tail, 1 - tail))
    return low, high
