"""From a table's description and the records to its lines: each row's metric, against each of its baselines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from kiti.report.sheets import Metric, Row, TableSpec
from kiti.report.significance import Comparison, Summary, paired, summarize
from kiti.report.table_runs import Archive, Cell, Found, Plan, aggregate, require_same_data, row_overrides
from kiti.report.tables.notes import notes


@dataclass(frozen=True)
class Filled:
    """A row with the records that fill it; `reason` says why it has no configuration at this scale."""

    row: Row
    records: dict[int, Found] = field(default_factory=dict)
    config_hash: str = ""
    reason: str = ""

    @property
    def stand_in(self) -> str:
        """What replaces the paper's data in these records, in words; empty when nothing does."""
        return "; ".join(sorted({found.record.data.stand_in or "" for found in self.records.values()} - {""}))

    def values(self, metric: Metric) -> dict[int, float]:
        """The metric by seed."""
        return aggregate([found.record for found in self.records.values()], self.row.key(metric))


@dataclass(frozen=True)
class Line:
    """One metric of one row, against one baseline or none."""

    filled: Filled
    metric: Metric
    summary: Summary
    against: str = ""
    comparison: Comparison | None = None
    published_relative: float = math.nan
    repeats: bool = False  # the same row and metric as the line above, against another baseline


@dataclass(frozen=True)
class Table:
    """The lines of a table at one scale, and the sentences that belong under it."""

    name: str
    spec: TableSpec
    scale: str
    lines: list[Line]
    notes: list[str]


def build(name: str, spec: TableSpec, scale: str, cells: Plan, archive: Archive) -> Table:
    """Fill the table's rows with records and compare them.

    Raises RecordError where records disagree about configuration or data, or lack a metric.
    """
    rows = [_fill(row, spec, scale, cells, archive) for row in spec.rows]
    _require_same_data(rows, name, scale)
    lines = [
        line
        for filled in rows
        for metric in spec.metrics
        if filled.row.has(metric)
        for line in _lines(filled, rows, metric)
    ]
    found = [one for row in rows for one in row.records.values()]
    return Table(name, spec, scale, lines, notes(spec, scale, cells, found))


def shown(table: Table) -> dict[tuple[str, str], Found]:
    """Of each row, by group and label, the record of the table's first seed: what a picture of single runs shows."""
    first = table.spec.scales[table.scale].seeds[0]
    rows = {(line.filled.row.group, line.filled.row.label): line.filled for line in table.lines}
    return {row: filled.records[first] for row, filled in rows.items() if first in filled.records}


def _fill(row: Row, spec: TableSpec, scale: str, cells: Plan, archive: Archive) -> Filled:
    settings = spec.scales[scale]
    cell = cells[row_overrides(row.run_at(scale), scale, settings)]
    if not isinstance(cell, Cell):
        return Filled(row, reason=str(cell))
    return Filled(row, archive.records(cell, settings.seeds), cell.composed.hash)


def _require_same_data(rows: Sequence[Filled], name: str, scale: str) -> None:
    """Rows of one group are compared with each other, so they must have seen the same data."""
    groups: dict[str, list[Found]] = {}
    for filled in rows:
        groups.setdefault(filled.row.group, []).extend(filled.records.values())
    for found in groups.values():
        remedy = f"`kiti-table {name} --scale {scale} --run` makes the missing ones here"
        require_same_data([one.record for one in found], remedy)


def _lines(filled: Filled, rows: Sequence[Filled], metric: Metric) -> list[Line]:
    ours = filled.values(metric)
    summary = summarize(ours.values())
    lines: list[Line] = []
    for against in filled.row.against:
        baseline = next(row for row in rows if (row.row.group, row.row.label) == (filled.row.group, against))
        comparison = paired(ours, baseline.values(metric), metric.higher_is_better)
        printed = math.nan
        digits, others = filled.row.printed(metric), baseline.row.printed(metric)
        if digits and others:
            printed = float(digits) / float(others) - 1
        elif filled.row.published_relative is not None and metric.published and not lines:
            printed = filled.row.published_relative
        lines.append(Line(filled, metric, summary, against, comparison, printed, repeats=bool(lines)))
    return lines or [Line(filled, metric, summary)]
