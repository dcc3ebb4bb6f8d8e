"""Writes how many seeds the primary comparisons of a table need, and what these cost."""

import math
from collections.abc import Iterable
from statistics import fmean

from kiti.report import formats
from kiti.report.formats import NOTHING, Grid
from kiti.report.power import MOST_SEEDS, seeds_for_difference, seeds_for_equivalence, upper_spread
from kiti.report.tables import Line, Table

_HEADER = ["problem", "row", "n", "spread", "printed", "margin", "to see it", "to be equivalent", "h a seed"]


def seed_grid(table: Table) -> Grid:
    """For each primary comparison with two seeds or more: the seeds it needs by the observed spread, and their cost.

    The spread is the upper 80 % limit of the standard deviation of the differences, in the unit of the metric's effect.
    """
    lines = [line for line in table.lines if line.primary and line.comparison and line.comparison.n > 1]
    title = f"{table.spec.title} (scale {table.scale}), seeds"
    notes = [
        "n: the seeds with records. spread: of the differences to the baseline, the upper 80 % limit by these seeds.",
        "to see it: seeds that show a true difference of the printed size with 80 % power, two-sided at 5 %, without "
        "correction. to be equivalent: seeds that show a true difference of 0 to lie within the margin with 80 % "
        f"power. >{MOST_SEEDS} is not counted further.",
        "h a seed: of the row and its baseline together, by the records, whatever machine they come from.",
    ]
    if not lines:
        notes = ["No primary comparison has two seeds yet, so its spread is not known.", *notes]
    return Grid(title, _HEADER, [_cells(line, table.lines) for line in lines], notes, grouped=True)


def _cells(line: Line, lines: Iterable[Line]) -> list[str]:
    found, unit = line.comparison, line.metric.effect
    assert found is not None
    spread = line.as_effect(upper_spread(found.spread, found.n))
    difference = seeds_for_difference(spread, line.printed) if line.printed else None
    baseline = next(
        one.filled
        for one in lines
        if (one.filled.row.group, one.filled.row.label) == (line.filled.row.group, line.against)
    )
    hours = sum(
        fmean(stored.record.wall_seconds for stored in filled.records.values()) for filled in (line.filled, baseline)
    )
    return [
        f"{line.filled.row.group}: {line.metric.label}",
        line.filled.row.label,
        str(found.n),
        formats.size(spread, unit),
        formats.effect(line.printed, unit),
        formats.size(line.margin, unit),
        _seeds(difference, line.printed),
        _seeds(seeds_for_equivalence(spread, line.margin), line.margin),
        formats.plain(hours / 3600, 2),
    ]


def _seeds(number: int | None, known: float) -> str:
    if number is not None:
        return str(number)
    return NOTHING if math.isnan(known) or not known else f">{MOST_SEEDS}"
