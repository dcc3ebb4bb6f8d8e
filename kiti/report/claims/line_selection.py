"""Names lines of a table's committed output, as rules do: by problem, row, metric, baseline and scale."""

import pydantic

from kiti.report.claims.evidence import Evidence, OutputLine
from kiti.report.sheets import SheetError
from kiti.report.sheets.rows import StrictModel
from kiti.report.significance import BETTER, EQUIVALENT, HIGHER, LOWER, WORSE, holm

DECIDED = (BETTER, WORSE, HIGHER, LOWER, EQUIVALENT)


class Selection(StrictModel):
    """The `rows` of a `sheet`, each compared with `against`, in `groups` and by `metrics`; empty means all.

    `against` is by default the row's first baseline. `metrics` are keys of records, by default those that decide: the
    published ones, or the sheet's first. The scale is by default the paper's own once its output has numbers.
    """

    sheet: str
    rows: list[str]
    groups: list[str] = pydantic.Field(default_factory=list)
    metrics: list[str] = pydantic.Field(default_factory=list)
    against: str | None = None
    scale: str | None = None

    def scale_in(self, evidence: Evidence) -> str:
        """The scale from which the numbers come."""
        return self.scale or evidence.best_scale(self.sheet)

    def expected(self, evidence: Evidence) -> list[tuple[str, str, str, str]]:
        """(problem, row, key, baseline) of each comparison at the scale. SheetError for a name that is not there."""
        scale = self.scale_in(evidence)
        spec = evidence.table(self.sheet, scale)
        found = []
        for row in spec.rows:
            if row.label not in self.rows or (self.groups and row.group not in self.groups):
                continue
            against = self.against or (row.against[0] if row.against else "")
            if self.against and self.against not in row.against:
                continue
            deciding = [m for m in spec.metrics if row.has(m) and scale in (m.scales or [scale])]
            deciding = [m for m in deciding if m.published] or deciding[:1]
            chosen = [m for m in spec.metrics if row.has(m) and set(row.keys_of(m)) & set(self.metrics)]
            for metric in chosen if self.metrics else deciding:
                keys = row.keys_of(metric)
                found += [(row.group, row.label, key, against) for key in keys if key in (self.metrics or keys)]
        for what, wanted, place in (("row", self.rows, 1), ("problem", self.groups, 0), ("metric", self.metrics, 2)):
            if unknown := ", ".join(sorted(set(wanted) - {one[place] for one in found})):
                raise SheetError(f"{evidence.paper}/{self.sheet} at scale {scale} has no {what} {unknown} to compare")
        return found

    def lines(self, evidence: Evidence) -> list[OutputLine]:
        """The committed lines of these comparisons that have numbers."""
        wanted = set(self.expected(evidence))
        output = evidence.output(self.sheet, self.scale_in(evidence))
        return [line for line in output if line.n and (line.group, line.row, line.key, line.baseline) in wanted]

    def line(self, evidence: Evidence, group: str, row: str, key: str) -> OutputLine | None:
        """Any line of a row's metric, whatever its baseline; None if it has no numbers."""
        for line in evidence.output(self.sheet, self.scale_in(evidence)):
            if (line.group, line.row, line.key) == (group, row, key) and line.was_run:
                return line
        return None

    def source(self, evidence: Evidence) -> str:
        """The page with the numbers."""
        return evidence.source(self.sheet, self.scale_in(evidence))

    def basis(self, evidence: Evidence, lines: list[OutputLine]) -> str:
        """`laptop, stand-in, n 3`."""
        seeds = sorted({line.n for line in lines})
        stand_in = any(line.cells.get("stand_in") for line in lines)
        n = f"n {seeds[0]}" if len(seeds) == 1 else f"n {seeds[0]} to {seeds[-1]}" if seeds else ""
        return ", ".join(part for part in (self.scale_in(evidence), "stand-in" if stand_in else "", n) if part)


def words(lines: list[OutputLine], selection: Selection, evidence: Evidence) -> list[str]:
    """The verdict of each comparison: the sheet's own of a primary one, else by Holm's p among the others here."""
    others = [line for line in lines if not line.is_primary]
    corrected = dict(zip(map(id, others), holm([line.number("p") for line in others]), strict=True))
    found = []
    for line in lines:
        if line.is_primary:
            found.append(line.verdict)
            continue
        metric = evidence.metric(selection.sheet, selection.scale_in(evidence), line.group, line.key)
        found.append(line.comparison().verdict(corrected[id(line)], line.margin, metric.higher_is_better))
    return found
