"""Writes a table as text: published | ours | difference | verdict.

There are two views. The short one has the primary comparisons, their baselines and what the paper prints; the full one
has every row, metric and baseline.
"""

import math
from collections.abc import Sequence

from kiti.report import formats
from kiti.report.formats import NOTHING, Grid
from kiti.report.significance import NOT_RUN
from kiti.report.tables.lines import FilledRow, Line, Table
from kiti.report.tables.replicates import replicate_notes
from kiti.report.tables.steps_table import steps_grid
from kiti.report.tables.table_csv import REPLICATES, replicates_csv, to_csv

_DOSE = ("pairs", "energy", "|Δg|/|g|")
_DOSE_NOTE = (
    "pairs: how many pairs of a system collide. energy: kinetic energy after collisions by that before. |Δg|/|g|: how "
    "far KO changes a gradient. They are means over training, modules and seeds; ! marks what is odd: fewer than 0.1 "
    "pairs, or an energy ratio above 2."
)


def grid(table: Table) -> Grid:
    """The short view, for all formats except CSV."""
    if table.spec.ratios:
        return steps_grid(table)
    lines = short_lines(table)
    printed = any(row.is_printed for row in table.spec.rows)
    compared = any(line.comparison for line in lines)
    header = ["problem", table.spec.row_header]
    header += [*(["published"] if printed else []), "ours ± std (n)"]
    header += [*(["Δ [95 % CI]", "sees"] if compared else [])]
    header += [*(["verdict"] if any(_short_verdict(line) != NOTHING for line in lines) else [])]
    notes = [*_stand_ins(lines), *_reasons(lines), *_doses_by_module(lines), *_notes(table)]
    if folded := len(table.lines) - len(lines):
        notes = [f"{folded} more lines, of controls and secondary metrics: --wide.", *notes]
    return Grid(_title(table), header, [_short(line, header) for line in lines], notes, _label(table), grouped=True)


def full_grid(table: Table) -> Grid:
    """The full view."""
    if table.spec.ratios:
        return steps_grid(table)
    printed = any(row.is_printed for row in table.spec.rows)
    header = ["problem", table.spec.row_header, "metric", *(["published"] if printed else []), "ours (mean ± std, n)"]
    header += ["baseline", "Δ to baseline [95 % CI]", "relative Δ", *(["printed Δ"] if printed else [])]
    header += ["smallest Δ seen", "margin", "p", "Holm's p", "verdict"]
    header += [*(_DOSE if table.collides else ()), "scale", "stand-in"]
    return Grid(
        _title(table), header, [_full(line, table, printed) for line in table.lines], _notes(table), _label(table)
    )


def short_lines(table: Table) -> list[Line]:
    """The primary comparisons, the lines of their baselines and trivial predictors, and those that the paper prints.

    Of a table without primary comparisons: every row's comparison with its first baseline, by the first metric that it
    has. Lines of one problem and metric are together.
    """
    lines = [line for line in table.lines if not line.repeats]
    if deciding := [line for line in lines if line.primary]:
        beside = {
            (line.filled.row.group, label, line.metric.key)
            for line in deciding
            for label in (line.against, *_trivial(line, table))
        }
        lines = [
            line
            for line in lines
            if line.primary
            or line.filled.row.printed(line.metric)
            or (line.filled.row.group, line.filled.row.label, line.metric.key) in beside
        ]
    else:
        first = {(line.filled.row.group, line.filled.row.label): line for line in reversed(lines)}
        lines = [line for line in lines if first[line.filled.row.group, line.filled.row.label] is line]
    groups = list(dict.fromkeys(line.filled.row.group for line in lines))
    return sorted(lines, key=lambda line: (groups.index(line.filled.row.group), table.spec.metrics.index(line.metric)))


def outputs(table: Table) -> dict[str, bytes]:
    """The table in all its file formats, by file extension."""
    short = grid(table)
    more = None if table.spec.ratios else full_grid(table)
    formatted = {"md": formats.markdown(short, more), "csv": to_csv(table), "tex": formats.latex(short)}
    if table.replicates and not table.spec.ratios:
        formatted[REPLICATES] = replicates_csv(table)
    return {ending: content.encode() for ending, content in formatted.items()}


def _notes(table: Table) -> list[str]:
    return [*table.notes, *replicate_notes(table), *([_DOSE_NOTE] if table.collides else [])]


def _title(table: Table) -> str:
    return f"{table.spec.title} (scale {table.scale})"


def _label(table: Table) -> str:
    return f"{table.name}-{table.scale}".replace("/", "-")


def _trivial(line: Line, table: Table) -> list[str]:
    """The trivial predictors that the rows of a comparison must beat."""
    both = (line.filled.row.label, line.against)
    rows = [row for row in table.spec.rows if row.group == line.filled.row.group and row.label in both]
    return [label for row in rows for label in row.must_beat]


def _stand_ins(lines: Sequence[Line]) -> list[str]:
    """What replaces the paper's data, by problem."""
    groups: dict[str, dict[str, None]] = {}
    for line in lines:
        if line.filled.stand_in:
            groups.setdefault(line.filled.stand_in, {})[line.filled.row.group] = None
    return [f"Stand-in ({'; '.join(names)}): {stand_in}." for stand_in, names in groups.items()]


def _reasons(lines: Sequence[Line]) -> list[str]:
    """Why rows do not exist at this scale."""
    rows: dict[str, dict[str, None]] = {}
    for line in lines:
        if line.filled.reason:
            rows.setdefault(line.filled.reason, {})[f"{line.filled.row.group}: {line.filled.row.label}"] = None
    return [f"Not run: {reason} ({'; '.join(names)})." for reason, names in rows.items()]


def _short(line: Line, header: Sequence[str]) -> list[str]:
    row, comparison = line.filled.row, line.comparison
    effect = NOTHING
    if comparison and comparison.n:
        low, high = line.as_effect(comparison.low), line.as_effect(comparison.high)
        effect = formats.effect_and_interval(line.effect, low, high, line.metric.effect)
    published = _published(line)
    if not math.isnan(line.printed):
        published += f"\nΔ {formats.effect(line.printed, line.metric.effect)}"
    cells = {
        "problem": f"{row.group}{' (stand-in)' if line.filled.stand_in else ''}: {line.metric.label}",
        header[1]: "\n".join([_label_of(line), *_dose(line.filled)]),
        "published": published,
        "ours ± std (n)": _ours(line, "\n"),
        "Δ [95 % CI]": effect,
        "sees": formats.size(line.smallest, line.metric.effect),
        "verdict": _short_verdict(line),
    }
    return [cells[name] for name in header]


def _label_of(line: Line) -> str:
    """The row's label, with the one of several predictors that is best by the metric."""
    row, metric = line.filled.row, line.metric
    keys = row.keys_of(metric)
    if len(keys) == 1 or math.isnan(line.summary.mean):
        return row.label
    names = {key: key.split("/", 1)[-1].split("_") for key in keys}
    while len({words[-1] for words in names.values()}) == 1 and all(len(words) > 1 for words in names.values()):
        names = {key: words[:-1] for key, words in names.items()}  # without …_relative_l2
    return f"{row.label}: {' '.join(names[line.filled.key(metric)])}"


def _dose(filled: FilledRow) -> list[str]:
    """How much collided, in a few words, with a line for each thing that is odd about it."""
    pairs, energy, change = filled.dose
    parts = [
        *([f"{pairs:.2g} pairs"] if not math.isnan(pairs) else []),
        *([f"energy ×{energy:.3g}"] if not math.isnan(energy) else []),
        *([f"|Δg|/|g| {change:.2g}"] if not math.isnan(change) else []),
    ]
    return [*([", ".join(parts)] if parts else []), *(f"! {mark}" for mark in filled.marks)]


def _doses_by_module(lines: Sequence[Line]) -> list[str]:
    """The dose of each module, for rows with several whose features collide."""
    found = {(line.filled.row.group, line.filled.row.label): line.filled.dose_by_module for line in lines}
    return [
        f"Dose of {group}: {label}, pairs a system and energy ratio by module: "
        + ", ".join(
            f"{module} {formats.plain(one.pairs, 2)} ×{one.energy_ratio:.3g}" for module, one in modules.items()
        )
        + "."
        for (group, label), modules in found.items()
        if len(modules) > 1
    ]


def _short_verdict(line: Line) -> str:
    """The verdict; what was not run says so in the column of our numbers, and a note says why."""
    return NOTHING if line.verdict.startswith(NOT_RUN) else line.verdict or NOTHING


def _full(line: Line, table: Table, printed: bool) -> list[str]:
    filled, comparison, unit = line.filled, line.comparison, line.metric.effect
    interval, relative, p = NOTHING, NOTHING, math.nan
    if comparison:
        interval = formats.difference_and_interval(comparison.difference, comparison.low, comparison.high)
        relative, p = formats.percent(comparison.relative), comparison.p
    return [
        filled.row.group,
        _label_of(line),
        line.metric.label,
        *([NOTHING if line.repeats else _published(line)] if printed else []),
        _ours(line),
        line.against or NOTHING,
        interval,
        relative,
        *([formats.effect(line.printed, unit)] if printed else []),
        formats.size(line.smallest, unit),
        formats.size(line.margin, unit),
        formats.p_value(p),
        formats.p_value(line.p_corrected),
        line.verdict or NOTHING,
        *(formats.plain(number, 3) for number in (filled.dose if table.collides else ())),
        table.scale,
        filled.stand_in or NOTHING,
    ]


def _published(line: Line) -> str:
    digits, spread = line.filled.row.printed(line.metric), line.filled.row.printed_spread(line.metric)
    return f"{digits} ± {spread}" if digits and spread else digits or NOTHING


def _ours(line: Line, between: str = " ") -> str:
    summary = line.summary
    if not summary.n and not summary.diverged:
        return NOT_RUN
    if not summary.n:
        return f"nan ({summary.diverged} diverged)"
    if not line.filled.records:
        return f"{formats.mean_and_std(summary.mean, summary.std)}{between}(no run)"
    diverged = f", {summary.diverged} diverged" if summary.diverged else ""
    return f"{formats.mean_and_std(summary.mean, summary.std)}{between}(n={summary.n}{diverged})"
