"""Writes a table as CSV, with every row, metric and baseline.

Claims, the overview and the figure of verdicts are read from these files.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence

from kiti.report.tables.lines import Line, Table
from kiti.report.tables.steps_table import steps_csv

HEADER = (
    *("problem", "row", "metric", "published", "mean", "std", "n", "diverged", "seeds", "baseline"),
    *("difference", "ci_low", "ci_high", "relative", "baseline_level"),
    *("effect", "printed_effect", "margin", "smallest_effect"),
    *("p", "p_corrected", "paired_n", "primary", "verdict", "scale", "stand_in", "config_hash"),
)
"""Columns of every table."""
REPLICATES = "replicates.csv"
"""The ending of the file of a table's replicates."""
_DOSE = ("pairs_per_system", "energy_ratio", "gradient_change", "marks")


def to_csv(table: Table) -> str:
    """The full view as CSV: numbers with eight significant digits, empty if unknown."""
    if table.spec.ratios:
        return steps_csv(table)
    return _written([*HEADER, *(_DOSE if table.collides else ())], (_cells(line, table) for line in table.lines))


def replicates_csv(table: Table) -> str:
    """The same of its replicates, whose names are in the first column."""
    header = ["replicate", *HEADER, *(_DOSE if table.collides else ())]
    lines = ([one.name, *_cells(line, table)] for one in table.replicates for line in one.lines if line.filled.records)
    return _written(header, lines)


def _written(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def _cells(line: Line, table: Table) -> list[object]:
    filled, summary, comparison = line.filled, line.summary, line.comparison
    compared = [getattr(comparison, key, math.nan) for key in ("difference", "low", "high", "relative", "level")]
    return [
        filled.row.group,
        filled.row.label,
        filled.key(line.metric),
        filled.row.printed(line.metric) or "",
        *(_raw(number) for number in (summary.mean, summary.std)),
        summary.n,
        summary.diverged,
        " ".join(map(str, sorted(filled.records))),
        line.against,
        *map(_raw, compared),
        line.metric.effect if comparison else "",
        *(_raw(number) for number in (line.printed, line.margin, line.smallest)),
        *(_raw(number) for number in (getattr(comparison, "p", math.nan), line.p_corrected)),
        getattr(comparison, "n", ""),
        "yes" if line.primary else "no" if comparison else "",
        line.verdict,
        table.scale,
        filled.stand_in,
        filled.config_hash,
        *([*map(_raw, filled.dose), "; ".join(filled.marks)] if table.collides else []),
    ]


def _raw(number: float) -> str:
    # Eight digits, since the last bits may depend on library versions and a rebuilt file must not change.
    return "" if math.isnan(number) else f"{number:.8g}"
