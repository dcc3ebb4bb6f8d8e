"""What a table says of replicates: the same runs repeated elsewhere, for example on another processor."""

import math
from collections.abc import Mapping

from kiti.report import formats
from kiti.report.tables.lines import Line, Replicate, Table


def replicate_notes(table: Table) -> list[str]:
    """One note for each replicate: its primary comparisons, whether verdicts differ, and how far single runs do."""
    return [_note(one, table) for one in table.replicates if not table.spec.ratios]


def moved(table: Table, replicate: Replicate) -> list[float]:
    """How far each run of the deciding metrics lies from the same run in the replicate, in the metric's `effect`.

    Both of a pair have the same configuration and seed, so that only rounding differs.
    """
    ours = {_place(line): line for line in table.lines if not line.repeats}
    deciding = {(line.filled.row.group, line.metric.key) for line in table.lines if line.primary}
    found = []
    for line in replicate.lines:
        if line.repeats or (line.filled.row.group, line.metric.key) not in deciding:
            continue
        here, there = ours[_place(line)].filled.values(line.metric), line.filled.values(line.metric)
        found += [_distance(here, there, seed, line.metric.effect) for seed in sorted({*here} & {*there})]
    return [one for one in found if not math.isnan(one)]


def _place(line: Line) -> tuple[str, str, str]:
    return line.filled.row.group, line.filled.row.label, line.metric.key


def _distance(here: Mapping[int, float], there: Mapping[int, float], seed: int, unit: str) -> float:
    difference = abs(there[seed] - here[seed])
    if unit == "points":
        return difference
    return difference / abs(here[seed]) if here[seed] else math.nan


def _note(replicate: Replicate, table: Table) -> str:
    ours = {_place(line): line for line in table.lines if line.primary}
    compared = [line for line in replicate.lines if line.primary and line.comparison and line.comparison.n]
    devices = {one.record.device_name for line in replicate.lines for one in line.filled.records.values()}
    parts = [_compared(line, ours[_place(line)]) for line in compared]
    distances = moved(table, replicate)
    spread = ""
    if distances:
        unit = compared[0].metric.effect if compared else "relative"
        root = math.sqrt(sum(one**2 for one in distances) / len(distances))
        spread = (
            f" Single runs, with the same seed here and there, differ by {formats.size(root, unit)} (root mean square) "
            f"and by at most {formats.size(max(distances), unit)}."
        )
    comparisons = f" {'; '.join(parts)}." if parts else ""
    return f"Replicate {replicate.name}, the same runs on {' and '.join(sorted(devices))}.{comparisons}{spread}"


def _compared(line: Line, ours: Line) -> str:
    found = line.comparison
    if found is None:
        return ""
    low, high = line.as_effect(found.low), line.as_effect(found.high)
    effect = formats.effect_and_interval(line.effect, low, high, line.metric.effect).replace("\n", " ")
    same = "as here" if line.verdict == ours.verdict else f"where the table has {ours.verdict or 'no verdict'}"
    row = line.filled.row
    return (
        f"{row.group}, {row.label}, {line.metric.label} {effect} (n = {found.n}), p "
        f"{formats.p_value(found.p)}, {line.verdict}, {same}"
    )
