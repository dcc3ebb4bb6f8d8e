"""Builds the lines of a table: each metric of each row, compared with each of its baselines."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kiti.report import collision_effects
from kiti.report.courses import Course, course
from kiti.report.sheets import Metric, Row, TableSpec
from kiti.report.significance import Comparison, Summary, paired, summarize
from kiti.report.table_runs import Archive, Plan, StoredRecord, TableRun, aggregate, require_same_data, row_overrides
from kiti.report.tables.notes import notes


@dataclass(frozen=True)
class FilledRow:
    """A row with its records; `reason` says why it has no configuration at this scale."""

    row: Row
    records: dict[int, StoredRecord] = field(default_factory=dict)
    config_hash: str = ""
    reason: str = ""

    @property
    def stand_in(self) -> str:
        """What replaces the paper's data in these records, in words; empty for the paper's own data."""
        return "; ".join(sorted({found.record.data.stand_in or "" for found in self.records.values()} - {""}))

    def values(self, metric: Metric) -> dict[int, float]:
        """The metric by seed."""
        if metric.last:
            return {seed: found.final for seed, found in self.courses(metric).items()}
        found = aggregate([found.record for found in self.records.values()], self.row.key(metric))
        return {seed: metric.factor * value for seed, value in found.items()}

    def courses(self, metric: Metric) -> dict[int, Course]:
        """The course of a metric over the steps, by seed; RecordError if a record lacks it."""
        higher, key = bool(metric.higher_is_better), self.row.key(metric)
        courses = {seed: course(found.record, key, higher, metric.last) for seed, found in self.records.items()}
        return {seed: replace(found, values=metric.factor * found.values) for seed, found in courses.items()}

    @property
    def pairs(self) -> float:
        """Colliding pairs a system, mean over seeds; nan if nothing collides."""
        return _mean(collision_effects.pairs(found.record, self.row.features) for found in self.records.values())

    @property
    def gradient_change(self) -> float:
        """|Δg| / |g|, mean over seeds; nan without KO."""
        return _mean(collision_effects.gradient_change(found.record) for found in self.records.values())


@dataclass(frozen=True)
class Line:
    """One metric of one row, compared with one baseline or none; `learnt` says whether both are better than trivial."""

    filled: FilledRow
    metric: Metric
    summary: Summary
    against: str = ""
    comparison: Comparison | None = None
    published_relative: float = math.nan
    learnt: bool = True
    repeats: bool = False  # same row and metric as the line above, but another baseline


@dataclass(frozen=True)
class Table:
    """The lines of a table at one scale, and the notes below it."""

    name: str
    spec: TableSpec
    scale: str
    lines: list[Line]
    notes: list[str]


def build(name: str, spec: TableSpec, scale: str, plan: Plan, archive: Archive) -> Table:
    """Find the records of the table's rows and compare them.

    Raises RecordError if records disagree in configuration or data, or lack a metric.
    """
    rows = [_fill(row, spec, scale, plan, archive) for row in spec.rows]
    _require_same_data(rows, name, scale)
    lines = [
        line
        for filled in rows
        for metric in spec.metrics
        if filled.row.has(metric) and scale in (metric.scales or [scale])
        for line in _lines(filled, rows, metric)
    ]
    found = [one for row in rows for one in row.records.values()]
    outdated = {
        record.key: record
        for row in rows
        if not row.records
        for record in archive.outdated(plan[row_overrides(row.row.run_at(scale), scale, spec.scales[scale])])
    }
    return Table(name, spec, scale, lines, notes(spec, scale, plan, found, list(outdated.values())))


def shown(table: Table) -> dict[tuple[str, str], StoredRecord]:
    """The record of the table's first seed by (group, label) of its row, for pictures of single runs."""
    first = table.spec.scales[table.scale].seeds[0]
    rows = {(line.filled.row.group, line.filled.row.label): line.filled for line in table.lines}
    return {row: filled.records[first] for row, filled in rows.items() if first in filled.records}


def _mean(values: Iterable[float]) -> float:
    return summarize(values).mean


def _fill(row: Row, spec: TableSpec, scale: str, plan: Plan, archive: Archive) -> FilledRow:
    settings = spec.scales[scale]
    run = plan[row_overrides(row.run_at(scale), scale, settings)]
    if not isinstance(run, TableRun):
        return FilledRow(row, reason=str(run))
    records = archive.records(run, settings.seeds)
    if not records and run.misfit:
        return FilledRow(row, reason=run.misfit)
    return FilledRow(row, records, run.composed.hash)


def _require_same_data(rows: Sequence[FilledRow], name: str, scale: str) -> None:
    """Rows of one group are compared with each other, so they must have used the same data."""
    groups: dict[str, list[StoredRecord]] = {}
    for filled in rows:
        groups.setdefault(filled.row.group, []).extend(filled.records.values())
    for found in groups.values():
        remedy = f"`kiti-table {name} --scale {scale} --run` creates the missing ones here"
        require_same_data([one.record for one in found], remedy)


def _lines(filled: FilledRow, rows: Sequence[FilledRow], metric: Metric) -> list[Line]:
    def row(label: str) -> FilledRow:
        return next(one for one in rows if (one.row.group, one.row.label) == (filled.row.group, label))

    def learnt(one: FilledRow) -> bool:
        trivial = (row(label) for label in one.row.must_beat)
        return all(_is_better(one.values(metric), t.values(metric), metric) for t in trivial if t.row.has(metric))

    ours = filled.values(metric)
    summary = summarize(ours.values())
    lines: list[Line] = []
    for against in filled.row.against:
        baseline = row(against)
        comparison = paired(ours, baseline.values(metric), metric.higher_is_better)
        printed = math.nan
        printed_digits, baseline_digits = filled.row.printed(metric), baseline.row.printed(metric)
        if printed_digits and baseline_digits:
            printed = float(printed_digits) / float(baseline_digits) - 1
        elif filled.row.published_relative is not None and metric.published and not lines:
            printed = filled.row.published_relative
        both = learnt(filled) and learnt(baseline)
        lines.append(Line(filled, metric, summary, against, comparison, printed, both, repeats=bool(lines)))
    return lines or [Line(filled, metric, summary, learnt=learnt(filled))]


def _is_better(ours: Mapping[int, float], trivial: Mapping[int, float], metric: Metric) -> bool:
    """Whether the mean is better than that of a trivial predictor; true while either is unknown."""
    difference = _mean(ours.values()) - _mean(trivial.values())
    return (
        math.isnan(difference)
        or metric.higher_is_better is None
        or difference * (1 if metric.higher_is_better else -1) > 0
    )
