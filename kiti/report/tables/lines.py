"""Builds the lines of a table: each metric of each row, compared with each of its baselines."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kiti.report import collision_effects, trivial_numbers
from kiti.report.courses import Course, course
from kiti.report.power import smallest_effect
from kiti.report.sheets import Metric, Row, TableSpec
from kiti.report.significance import NOT_LEARNT, NOT_RUN, Comparison, Summary, holm, paired, summarize
from kiti.report.table_runs import Archive, Plan, StoredRecord, TableRun, aggregate, require_same_data, row_overrides
from kiti.report.tables.notes import notes
from kiti.report.trivial_numbers import TrivialNumbers

_DOSE = ("pairs", "energy_ratio", "particles")


@dataclass(frozen=True)
class FilledRow:
    """A row with its records; `reason` says why it has no configuration at this scale.

    `trivial` are committed numbers of predictors without a network, for records that lack them, and `given` those for
    its data while it has no records.
    """

    row: Row
    records: dict[int, StoredRecord] = field(default_factory=dict)
    config_hash: str = ""
    reason: str = ""
    trivial: Sequence[TrivialNumbers] = ()
    given: Sequence[TrivialNumbers] = ()

    @property
    def stand_in(self) -> str:
        """What replaces the paper's data in these records, in words; empty for the paper's own data."""
        return "; ".join(sorted({found.record.data.stand_in or "" for found in self.records.values()} - {""}))

    def values(self, metric: Metric) -> dict[int, float]:
        """The metric by seed."""
        if metric.last:
            return {seed: found.final for seed, found in self.courses(metric).items()}
        return {seed: metric.factor * value for seed, value in self._by_seed(self.key(metric)).items()}

    def key(self, metric: Metric) -> str:
        """The key of the metric in the records; of several the one with the best mean."""
        first, *others = self.row.keys_of(metric)
        if not others or not (self.records or self.given):
            return first
        means = {key: _mean(self._by_seed(key).values()) for key in (first, *others)}
        return (max if metric.higher_is_better else min)(means, key=lambda key: means[key])

    def _by_seed(self, key: str) -> dict[int, float]:
        if not self.records:
            return trivial_numbers.by_seed(self.given, key)
        return aggregate([trivial_numbers.completed(one.record, self.trivial) for one in self.records.values()], key)

    def courses(self, metric: Metric) -> dict[int, Course]:
        """The course of a metric over the steps, by seed; RecordError if a record lacks it."""
        higher, key = bool(metric.higher_is_better), self.key(metric)
        courses = {seed: course(found.record, key, higher, metric.last) for seed, found in self.records.items()}
        return {seed: replace(found, values=metric.factor * found.values) for seed, found in courses.items()}

    @property
    def pairs(self) -> float:
        """Colliding pairs a system, mean over seeds; nan if nothing collides."""
        return _mean(collision_effects.pairs(found.record, self.row.features) for found in self.records.values())

    @property
    def energy_ratio(self) -> float:
        """Kinetic energy after collisions by that before, mean over modules and seeds; nan without KITINet."""
        return _mean(collision_effects.energy_ratio(found.record) for found in self.records.values())

    @property
    def dose(self) -> tuple[float, float, float]:
        """Pairs a system, energy ratio and |Δg| / |g|."""
        return self.pairs, self.energy_ratio, self.gradient_change

    @property
    def dose_by_module(self) -> dict[str, collision_effects.Dose]:
        """Pairs a system and energy ratio of each module whose features collide, mean over seeds."""
        of_seeds = [collision_effects.doses(found.record, self.row.features) for found in self.records.values()]
        return {
            module: collision_effects.Dose(*(_mean(getattr(one[module], of) for one in of_seeds) for of in _DOSE))
            for module in (of_seeds[0] if of_seeds else {})
        }

    @property
    def marks(self) -> list[str]:
        """What is odd about how much collided, in words."""
        return collision_effects.dose_marks([found.record for found in self.records.values()], self.row.features)

    @property
    def gradient_change(self) -> float:
        """|Δg| / |g|, mean over seeds; nan without KO."""
        return _mean(collision_effects.gradient_change(found.record) for found in self.records.values())


@dataclass(frozen=True)
class Line:
    """One metric of one row, compared with one baseline or none; `learnt` says whether both are better than trivial.

    `primary` comparisons are the family of the sheet: `p_corrected` is Holm's within it, and nan for others. `printed`
    is the paper's difference and `margin` the one that does not matter, in the unit of the metric's `effect`; nan if
    there is none.
    """

    filled: FilledRow
    metric: Metric
    summary: Summary
    against: str = ""
    comparison: Comparison | None = None
    printed: float = math.nan
    margin: float = math.nan
    learnt: bool = True
    primary: bool = False
    p_corrected: float = math.nan
    repeats: bool = False  # same row and metric as the line above, but another baseline

    @property
    def verdict(self) -> str:
        """In words; empty without a comparison, or for one that is not primary."""
        if self.filled.reason:
            return f"{NOT_RUN}: {self.filled.reason}"
        if not self.filled.records:
            return "" if self.filled.given else NOT_RUN
        if not self.learnt:
            return NOT_LEARNT
        if not (self.comparison and self.primary):
            return ""
        return self.comparison.verdict(self.p_corrected, self.in_units(self.margin), self.metric.higher_is_better)

    @property
    def effect(self) -> float:
        """The difference in the unit of the metric's `effect`: a fraction of the baseline, or points."""
        if self.comparison is None:
            return math.nan
        return self.comparison.relative if self.metric.effect == "relative" else self.comparison.difference

    def as_effect(self, difference: float) -> float:
        """A `difference` of the metric in the unit of its `effect`."""
        if self.metric.effect == "points":
            return difference
        return difference / self.comparison.level if self.comparison and self.comparison.level else math.nan

    def in_units(self, effect: float) -> float:
        """An `effect` as a difference of the metric."""
        if self.metric.effect == "points":
            return effect
        return effect * self.comparison.level if self.comparison else math.nan

    @property
    def smallest(self) -> float:
        """The smallest effect that this number of seeds sees with 80 % power, in the unit of `effect`."""
        found = self.comparison
        return self.as_effect(smallest_effect(found.spread, found.n)) if found else math.nan


@dataclass(frozen=True)
class Table:
    """The lines of a table at one scale, and the notes below it."""

    name: str
    spec: TableSpec
    scale: str
    lines: list[Line]
    notes: list[str]
    replicates: "list[Replicate]" = field(default_factory=list)

    @property
    def collides(self) -> bool:
        """Whether features or gradients collide in any of its records."""
        stored = (one for line in self.lines for one in line.filled.records.values())
        return any(one.record.collisions or one.record.ko for one in stored)


@dataclass(frozen=True)
class Replicate:
    """The lines of a table from records of the same runs that were made elsewhere, for example on another processor."""

    name: str
    lines: list[Line]


def build(name: str, spec: TableSpec, scale: str, plan: Plan, archive: Archive) -> Table:
    """Find the records of the table's rows and compare them.

    Raises RecordError if records disagree in configuration or data, or lack a metric.
    """
    rows, lines = _compared(name, spec, scale, plan, archive)
    replicates = [
        Replicate(one.replicate or "", _compared(name, spec, scale, plan, one)[1]) for one in archive.replicates()
    ]
    found = [one for row in rows for one in row.records.values()]
    outdated = {
        record.key: record
        for row in rows
        if not row.records
        for record in archive.outdated(plan[row_overrides(row.row.run_at(scale), scale, spec.scales[scale])])
    }
    return Table(
        name,
        spec,
        scale,
        lines,
        notes(spec, scale, plan, found, list(outdated.values())),
        [one for one in replicates if any(line.filled.records for line in one.lines)],
    )


def _compared(
    name: str, spec: TableSpec, scale: str, plan: Plan, archive: Archive
) -> tuple[list[FilledRow], list[Line]]:
    rows = [_fill(row, spec, scale, plan, archive) for row in spec.rows]
    _require_same_data(rows, name, scale)
    lines = _corrected(
        line
        for filled in rows
        for metric in spec.metrics
        if filled.row.has(metric) and scale in (metric.scales or [scale])
        for line in _lines(filled, rows, metric, metric in spec.deciding(filled.row, scale))
    )
    return rows, lines


def shown(table: Table) -> dict[tuple[str, str], StoredRecord]:
    """The record of the table's first seed by (group, label) of its row, for pictures of single runs."""
    settings = table.spec.scales[table.scale]
    rows = {(line.filled.row.group, line.filled.row.label): line.filled for line in table.lines}
    first = {row: settings.seeds_of(row[0])[0] for row in rows}
    return {row: filled.records[first[row]] for row, filled in rows.items() if first[row] in filled.records}


def _mean(values: Iterable[float]) -> float:
    return summarize(values).mean


def _fill(row: Row, spec: TableSpec, scale: str, plan: Plan, archive: Archive) -> FilledRow:
    settings = spec.scales[scale]
    run = plan[row_overrides(row.run_at(scale), scale, settings)]
    if not isinstance(run, TableRun):
        return FilledRow(row, reason=str(run))
    records = archive.records(run, settings.seeds_of(row.group))
    if not records and run.misfit:
        return FilledRow(row, reason=run.misfit)
    given = () if records or not row.is_trivial else [one for one in archive.trivial if one.are_of(run.composed)]
    return FilledRow(row, records, run.composed.hash, trivial=archive.trivial, given=given)


def _require_same_data(rows: Sequence[FilledRow], name: str, scale: str) -> None:
    """Rows of one group are compared with each other, so they must have used the same data."""
    groups: dict[str, list[StoredRecord]] = {}
    for filled in rows:
        groups.setdefault(filled.row.group, []).extend(filled.records.values())
    for found in groups.values():
        remedy = f"`kiti-table {name} --scale {scale} --run` creates the missing ones here"
        require_same_data([one.record for one in found], remedy)


def _lines(filled: FilledRow, rows: Sequence[FilledRow], metric: Metric, decides: bool) -> list[Line]:
    def row(label: str) -> FilledRow:
        return next(one for one in rows if (one.row.group, one.row.label) == (filled.row.group, label))

    def learnt(one: FilledRow) -> bool:
        trivial = (row(label) for label in one.row.must_beat)
        return all(_beats(one.values(metric), t.values(metric), metric) for t in trivial if t.row.has(metric))

    ours = filled.values(metric)
    summary = summarize(ours.values())
    lines: list[Line] = []
    for against in filled.row.against:
        baseline, first = row(against), not lines
        printed = _printed(filled.row, baseline.row, metric, first)
        half = abs(printed) / 2 if printed else math.nan  # a printed difference of 0 leaves no margin
        chosen = filled.row.margin if first and filled.row.margin else metric.margin if math.isnan(half) else half
        lines.append(
            Line(
                filled,
                metric,
                summary,
                against,
                paired(ours, baseline.values(metric)),
                printed,
                math.nan if chosen is None else chosen,
                learnt(filled) and learnt(baseline),
                primary=first and decides,
                repeats=not first,
            )
        )
    return lines or [Line(filled, metric, summary, learnt=learnt(filled))]


def _printed(row: Row, baseline: Row, metric: Metric, first: bool) -> float:
    """The difference that the paper prints, in the unit of the metric's `effect`; nan if it prints none."""
    ours, theirs = row.printed(metric), baseline.printed(metric)
    if ours and theirs:
        return float(ours) - float(theirs) if metric.effect == "points" else float(ours) / float(theirs) - 1
    if row.published_relative is not None and metric.published and first:
        return row.published_relative
    return math.nan


def _corrected(lines: Iterable[Line]) -> list[Line]:
    """The lines with Holm's p of the primary comparisons that were made, of networks that have learnt."""
    made = list(lines)
    ps = [line.comparison.p if line.comparison and line.primary and line.learnt else math.nan for line in made]
    return [replace(line, p_corrected=p) for line, p in zip(made, holm(ps), strict=True)]


def _beats(ours: Mapping[int, float], trivial: Mapping[int, float], metric: Metric) -> bool:
    """Whether the mean is better than that of a trivial predictor by the margin; true while either is unknown."""
    mine, theirs = _mean(ours.values()), _mean(trivial.values())
    if math.isnan(mine - theirs) or metric.higher_is_better is None:
        return True
    gain = (mine - theirs) * (1 if metric.higher_is_better else -1)
    return gain > metric.must_beat_by * (abs(theirs) if metric.effect == "relative" else 1)
