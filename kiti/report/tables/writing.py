"""Writes a table as text, published | ours | difference | verdict, and as CSV."""

import csv
import io
import math

from kiti.report import formats
from kiti.report.formats import NOTHING, Grid
from kiti.report.significance import NOT_LEARNT, NOT_RUN, Summary
from kiti.report.tables.lines import Line, Table
from kiti.report.tables.steps_table import steps_csv, steps_grid

_CSV_HEADER = (
    *("problem", "row", "metric", "published", "mean", "std", "n", "diverged", "seeds", "baseline"),
    *("difference", "ci_low", "ci_high", "relative", "published_relative", "p", "paired_n", "verdict"),
    *("scale", "stand_in", "config_hash"),
)
_CSV_EFFECTS = ("pairs_per_system", "gradient_change")
_EFFECTS = ("pairs", "change")
# What a narrow terminal leaves out of a table with effects; files have everything.
_WIDE = ("baseline", "relative Δ", "p", "verdict")


def grid(table: Table) -> Grid:
    """The table as text, for all formats except CSV."""
    if table.spec.ratios:
        return steps_grid(table)
    printed = any(row.is_printed for row in table.spec.rows)
    header = ["problem", table.spec.row_header, "metric"]
    header += [
        *(["published"] if printed else []),
        "ours (mean ± std, n)",
        "baseline",
        "Δ to baseline [95 % CI]",
    ]
    header += ["relative Δ (published)" if printed else "relative Δ", "p", "verdict"]
    effects = table.spec.effects
    header += [*(_EFFECTS if effects else ()), "scale", "stand-in"]
    lines = [_cells(line, table, printed) for line in table.lines]
    scale = f"scale {table.scale}"
    return Grid(
        f"{table.spec.title} ({scale})",
        header,
        lines,
        table.notes,
        f"{table.name}-{table.scale}".replace("/", "-"),
        _WIDE if effects else (),
    )


def to_csv(table: Table) -> str:
    """The table as CSV: numbers with eight significant digits, empty if unknown."""
    if table.spec.ratios:
        return steps_csv(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    effects = table.spec.effects
    writer.writerow([*_CSV_HEADER, *(_CSV_EFFECTS if effects else ())])
    for line in table.lines:
        filled, summary, comparison = line.filled, line.summary, line.comparison
        writer.writerow(
            [
                filled.row.group,
                filled.row.label,
                filled.row.key(line.metric),
                filled.row.printed(line.metric) or "",
                *(_raw(number) for number in (summary.mean, summary.std)),
                summary.n,
                summary.diverged,
                " ".join(map(str, sorted(filled.records))),
                line.against,
                *(_raw(getattr(comparison, key, math.nan)) for key in ("difference", "low", "high", "relative")),
                _raw(line.published_relative),
                _raw(getattr(comparison, "p", math.nan)),
                getattr(comparison, "n", ""),
                _verdict(line),
                table.scale,
                filled.stand_in,
                filled.config_hash,
                *((_raw(filled.pairs), _raw(filled.gradient_change)) if effects else ()),
            ]
        )
    return text.getvalue()


def outputs(table: Table) -> dict[str, bytes]:
    """The table in all its file formats, by file extension."""
    text = grid(table)
    formatted = {"md": formats.markdown(text), "csv": to_csv(table), "tex": formats.latex(text)}
    return {ending: content.encode() for ending, content in formatted.items()}


def _cells(line: Line, table: Table, printed: bool) -> list[str]:
    filled, summary, comparison = line.filled, line.summary, line.comparison
    row = filled.row
    published = NOTHING if line.repeats else row.printed(line.metric) or NOTHING
    relative = formats.percent(comparison.relative) if comparison else NOTHING
    if printed and not math.isnan(line.published_relative):
        relative += f" ({formats.percent(line.published_relative)})"
    interval = NOTHING
    if comparison:
        interval = formats.difference_and_interval(comparison.difference, comparison.low, comparison.high)
    return [
        row.group,
        row.label,
        line.metric.label,
        *([published] if printed else []),
        _ours(summary),
        line.against or NOTHING,
        interval,
        relative,
        formats.p_value(comparison.p) if comparison else NOTHING,
        _verdict(line) or NOTHING,
        *(formats.plain(number, 3) for number in (filled.pairs, filled.gradient_change) if table.spec.effects),
        table.scale,
        filled.stand_in or NOTHING,
    ]


def _ours(summary: Summary) -> str:
    if not summary.n and not summary.diverged:
        return NOT_RUN
    if not summary.n:
        return f"nan ({summary.diverged} diverged)"
    diverged = f", {summary.diverged} diverged" if summary.diverged else ""
    return f"{formats.mean_and_std(summary.mean, summary.std)} (n={summary.n}{diverged})"


def _verdict(line: Line) -> str:
    if line.filled.reason:
        return f"{NOT_RUN}: {line.filled.reason}"
    if not line.filled.records:
        return NOT_RUN
    if not line.learnt:
        return NOT_LEARNT
    return line.comparison.verdict if line.comparison else ""


def _raw(number: float) -> str:
    # Eight digits, since the last bits may depend on library versions and a rebuilt file must not change.
    return "" if math.isnan(number) else f"{number:.8g}"
