"""What the printed numbers themselves give for a claim, recalculated from the printed digits."""

from statistics import fmean
from typing import Annotated, Literal

import pydantic

from kiti.report import formats
from kiti.report.claims.by_seed import Place
from kiti.report.claims.comparisons import share_interval
from kiti.report.claims.evidence import Evidence
from kiti.report.sheets import Metric, Row, SheetError
from kiti.report.sheets.rows import StrictModel

PAPER = "paper"


class PrintedRows(StrictModel):
    """Printed pairs of a row and the row that it is `against`, by default its first baseline."""

    sheet: str
    rows: list[str]
    groups: list[str] = pydantic.Field(default_factory=list)
    labels: list[str] = pydantic.Field(default_factory=list)
    against: str | None = None

    def pairs(self, evidence: Evidence) -> list[tuple[Row, Row, Metric]]:
        """Those with digits of both. SheetError without any."""
        spec = evidence.table(self.sheet, PAPER)
        rows = {(row.group, row.label): row for row in spec.rows}
        found = []
        for row in spec.rows:
            if row.label not in self.rows or (self.groups and row.group not in self.groups):
                continue
            baseline = rows[row.group, self.against or row.against[0]]
            for metric in spec.metrics:
                wanted = not self.labels or metric.label in self.labels
                if wanted and row.printed(metric) and baseline.printed(metric):
                    found.append((row, baseline, metric))
        if not found:
            raise SheetError(f"{evidence.paper}/{self.sheet}: no printed digits of {', '.join(self.rows)}")
        return found

    def differences(self, evidence: Evidence) -> list[float]:
        """Ours minus the baseline as printed."""
        return [
            round(float(row.printed(m) or "nan") - float(base.printed(m) or "nan"), 10)
            for row, base, m in self.pairs(evidence)
        ]


class Wins(PrintedRows):
    """How many of the printed numbers are better than their baseline's."""

    calculation: Literal["wins"]

    def text(self, evidence: Evidence) -> str:
        """`19 of 20 better; share [0.75, 1.00]`."""
        pairs, differences = self.pairs(evidence), self.differences(evidence)
        signs = [-1 if metric.higher_is_better is False else 1 for _, _, metric in pairs]
        better = sum(sign * one > 0 for sign, one in zip(signs, differences, strict=True))
        equal = sum(one == 0 for one in differences)
        low, high = share_interval(better, len(pairs) - equal)
        ties = f", {equal} equal" if equal else ""
        return f"{better} of {len(pairs)} {self.word(pairs)}{ties}; share [{low:.2f}, {high:.2f}]"

    @staticmethod
    def word(pairs: list[tuple[Row, Row, Metric]]) -> str:
        """What a win is called."""
        return "higher" if pairs[0][2].higher_is_better is None else "better"


class MeanGain(PrintedRows):
    """The mean of the printed differences, in points."""

    calculation: Literal["mean_gain"]
    factor: float = 1

    def text(self, evidence: Evidence) -> str:
        """`+0.547 (mean of 6)`."""
        found = self.differences(evidence)
        return f"{self.factor * fmean(found):+.3g} points (mean of {len(found)})"


class Change(PrintedRows):
    """Each printed difference, relative to the baseline or in points."""

    calculation: Literal["change"]
    unit: Literal["relative", "points"] = "relative"
    factor: float = 1
    digits: int = 2

    def text(self, evidence: Evidence) -> str:
        """`-23.50 %`."""
        pairs = self.pairs(evidence)
        texts = []
        for (row, base, metric), difference in zip(pairs, self.differences(evidence), strict=True):
            if self.unit == "relative":
                texts.append(f"{100 * difference / float(base.printed(metric) or 'nan'):+.{self.digits}f} %")
            else:
                texts.append(f"{self.factor * difference:+.{self.digits}f} points")
            texts[-1] = f"{row.group} {texts[-1]}" if len({one.group for one, _, _ in pairs}) > 1 else texts[-1]
        return "; ".join(texts)


class Given(PrintedRows):
    """Changes that the paper gives only in words, as sheets have them in `published_relative`."""

    calculation: Literal["given"]

    def text(self, evidence: Evidence) -> str:
        """`ReLU -6.8 %`: there are no other printed numbers to check it by."""
        rows = [row for row in evidence.table(self.sheet, PAPER).rows if row.label in self.rows]
        found = [f"{row.group} {formats.percent(row.published_relative)}" for row in rows if row.published_relative]
        if not found:
            raise SheetError(f"{evidence.paper}/{self.sheet}: no published_relative of {', '.join(self.rows)}")
        return f"{'; '.join(found)}; no other number printed"


class Order(StrictModel):
    """Two printed numbers of different problems."""

    calculation: Literal["order"]
    sheet: str
    pairs: list[tuple[Place, Place]]

    def text(self, evidence: Evidence) -> str:
        """`78.67 against 78.41: +0.26`."""
        spec = evidence.table(self.sheet, PAPER)
        rows = {(row.group, row.label): row for row in spec.rows}
        texts = []
        for pair in self.pairs:
            digits = [
                next(filter(None, (rows[place.group, place.row].printed(metric) for metric in spec.metrics)), "")
                for place in pair
            ]
            texts.append(f"{digits[0]} against {digits[1]}: {float(digits[0]) - float(digits[1]):+.2f}")
        return "; ".join(texts)


class Flops(StrictModel):
    """The share of collisions, D²/heads of one block, in the multiply-adds published at 224x224 over 49."""

    calculation: Literal["flops"]
    depth: int
    features: int
    heads: int

    def text(self, evidence: Evidence) -> str:
        """`131072 / 73.47 M = +0.178 %; the column gives +0.136 %`."""
        file = evidence.printed("mflops")
        whole = float(file["published_at_224"][self.depth]) * 1e9 / 49
        part = self.features**2 // self.heads
        column = {name: float(digits) for name, digits in file["printed"][self.depth].items()}
        printed = column["kiti"] / column["vanilla"] - 1
        return f"{part} / {whole / 1e6:.2f} M = {100 * part / whole:+.3f} %; the column gives {100 * printed:+.3f} %"


class Cost(StrictModel):
    """Printed run times (column 0) or memory (column 1) of one variant over another's, by classes and depth."""

    calculation: Literal["cost"]
    variant: str
    over: str = "none"
    column: Literal[0, 1] = 0
    depths: list[int] = pydantic.Field(default_factory=list)

    def text(self, evidence: Evidence) -> str:
        """`10 classes: 18 +4.9 %, …`."""
        texts = []
        for classes, networks in evidence.printed("cost").items():
            ratios = [
                f"ResNet-{depth} {100 * (self._digits(of, self.variant) / self._digits(of, self.over) - 1):+.2f} %"
                for depth, of in networks.items()
                if not self.depths or depth in self.depths
            ]
            texts.append(f"{classes} classes: {', '.join(ratios)}")
        return "; ".join(texts)

    def _digits(self, of: dict[str, list[str]], variant: str) -> float:
        return float(of[variant][self.column])


class Quotient(StrictModel):
    """What two numbers in the text give."""

    calculation: Literal["quotient"]
    of: tuple[str, str]
    digits: int = 2

    def text(self, evidence: Evidence) -> str:
        """`3.69 / 3.68 = 1.003`."""
        return f"{self.of[0]} / {self.of[1]} = {float(self.of[0]) / float(self.of[1]):.{self.digits}f}"


Calculation = Annotated[
    Wins | MeanGain | Change | Given | Order | Flops | Cost | Quotient, pydantic.Field(discriminator="calculation")
]
