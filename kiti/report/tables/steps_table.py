"""Writes at what part of its baseline's training each run reaches the baseline's final value, as text and as CSV."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kiti.report.courses import Course
from kiti.report.formats import NOTHING, Grid
from kiti.report.passages import SEEDS_NEEDED, Passages, among_seeds, over_seeds, passage
from kiti.report.sheets import Ratio
from kiti.report.significance import NOT_RUN, holm, no_verdict, summarize
from kiti.report.tables.lines import FilledRow, Table
from kiti.storage.records import Record, RecordError

TOKENS_PER_STEP = "train/tokens_per_step"
OTHER_DEVICES = "other devices: no verdict"
_WORDS = {
    "steps": ("fewer steps", "more steps"),
    "tokens": ("fewer tokens", "more tokens"),
    "time": ("less time", "more time"),
}
_RATIO, _AHEAD, _CLAIMED = "ratio [95 % CI]", "ahead", "claimed"
_CSV_HEADER = (
    *("problem", "row", "baseline", "ratio_of", "n", "reached", "median", "ci_low", "ci_high", "ahead", "behind", "p"),
    *("p_corrected", "claimed", "verdict", "final_mean", "final_std", "seeds", "scale", "stand_in", "config_hash"),
)


@dataclass(frozen=True)
class RatioLine:
    """A ratio of a row, or several that are equal; `against` is empty for a baseline and its own final values."""

    filled: FilledRow
    name: str
    of: Sequence[Ratio]
    passages: Passages | None = None
    against: str = ""
    verdict: str = ""
    p_corrected: float = math.nan

    @property
    def claimed(self) -> str:
        """The paper's digits."""
        return ", ".join(self.filled.row.claimed[of] for of in self.of if of in self.filled.row.claimed)


def ratio_lines(table: Table) -> list[RatioLine]:
    """The lines of a table with `ratios`; RecordError if a record lacks what they take."""
    rows = {(line.filled.row.group, line.filled.row.label): line.filled for line in table.lines}
    lines: list[RatioLine] = []
    for (group, _), filled in rows.items():
        if filled.row.against:
            lines += _compared(filled, rows[group, filled.row.against[0]], table)
        else:
            lines += _baseline(filled, table)
    return _corrected(lines, table)


def _corrected(lines: Sequence[RatioLine], table: Table) -> list[RatioLine]:
    """The lines with Holm's p and the verdicts by it.

    Tests are the ratios of primary rows that the paper claims, or the first one of a row of which it claims none.
    """
    tests = [line.passages if _decides(line, table) else None for line in lines]
    ps = holm([test.p if test and test.n >= SEEDS_NEEDED else math.nan for test in tests])
    return [
        replace(line, p_corrected=p, verdict=test.verdict(p, *_WORDS[line.of[0]])) if test else line
        for line, test, p in zip(lines, tests, ps, strict=True)
    ]


def _decides(line: RatioLine, table: Table) -> bool:
    row = line.filled.row
    claimed = row.claimed or table.spec.ratios[:1]
    return bool(line.against) and row.label in table.spec.primary and any(of in claimed for of in line.of)


def steps_grid(table: Table) -> Grid:
    """The ratios as text, for all formats except CSV."""
    lines = ratio_lines(table)
    claimed = any(line.claimed for line in lines)
    header = ["problem", table.spec.row_header, "of", _RATIO, "reached", _AHEAD]
    return Grid(
        f"{table.spec.title} (scale {table.scale})",
        [*header, *([_CLAIMED] if claimed else []), "verdict"],
        [_cells(line, claimed) for line in lines],
        table.notes,
        f"{table.name}-{table.scale}".replace("/", "-"),
        grouped=True,
    )


def steps_csv(table: Table) -> str:
    """The ratios as CSV: numbers with eight significant digits, empty if unknown; >1 is at least 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    for line in ratio_lines(table):
        filled, found = line.filled, line.passages
        finals = summarize(filled.values(table.spec.metrics[0]).values())
        numbers: list[object] = [""] * 5
        if found:
            interval = (found.median, found.low, found.high)
            numbers = [found.n, found.reached, *(bound.text(".8g") for bound in interval)]
        tested = [found.ahead, found.behind, f"{found.p:.8g}"] if found and line.against else [""] * 3
        corrected = "" if math.isnan(line.p_corrected) else f"{line.p_corrected:.8g}"
        writer.writerow(
            [
                *(filled.row.group, line.name, line.against, " ".join(line.of)),
                *numbers,
                *tested,
                *(corrected, line.claimed, line.verdict),
                *("" if math.isnan(number) else f"{number:.8g}" for number in (finals.mean, finals.std)),
                " ".join(map(str, sorted(filled.records))),
                *(table.scale, filled.stand_in, filled.config_hash),
            ]
        )
    return text.getvalue()


def _baseline(filled: FilledRow, table: Table) -> Iterator[RatioLine]:
    """What the ratio is where nothing differs: of the baseline's own seeds."""
    label = filled.row.label
    if not filled.records:
        yield RatioLine(filled, label, ["steps"], verdict=_not_run(filled))
        return
    courses = filled.courses(table.spec.metrics[0])
    if diverged := [seed for seed, course in courses.items() if not course.is_finite]:
        yield RatioLine(filled, label, ["steps"], verdict=no_verdict(diverged))
        return
    itself = over_seeds([passage(course, course) for course in courses.values()])
    yield RatioLine(filled, f"{label}, itself", ["steps"], itself)
    if len(courses) > 1:
        yield RatioLine(filled, f"{label}, other seeds", ["steps"], among_seeds(courses))


def _compared(filled: FilledRow, baseline: FilledRow, table: Table) -> Iterator[RatioLine]:
    row, metric = filled.row, table.spec.metrics[0]
    ours, theirs = filled.courses(metric), baseline.courses(metric)
    seeds = sorted(ours.keys() & theirs.keys())
    diverged = [seed for seed in seeds if not (ours[seed].is_finite and theirs[seed].is_finite)]
    if not seeds or diverged:
        verdict = no_verdict(diverged) if diverged else _not_run(filled)
        yield RatioLine(filled, row.label, table.spec.ratios, against=row.against[0], verdict=verdict)
        return
    records = [(filled.records[seed].record, baseline.records[seed].record) for seed in seeds]
    for ratios in _distinct(table.spec.ratios, records):
        if "time" in ratios and any(mine.device_name != other.device_name for mine, other in records):
            yield RatioLine(filled, row.label, ratios, against=row.against[0], verdict=OTHER_DEVICES)
            continue
        found = over_seeds(
            [
                passage(_paced(ours[seed], mine, ratios[0]), _paced(theirs[seed], other, ratios[0]))
                for seed, (mine, other) in zip(seeds, records, strict=True)
            ]
        )
        yield RatioLine(filled, row.label, ratios, found, row.against[0])


def _distinct(ratios: Sequence[Ratio], pairs: Sequence[tuple[Record, Record]]) -> list[list[Ratio]]:
    """The ratios, those of steps and tokens as one if both runs of each seed have the same tokens a step."""
    if not {"steps", "tokens"} <= set(ratios) or any(_tokens(mine) != _tokens(other) for mine, other in pairs):
        return [[of] for of in ratios]
    together: list[list[Ratio]] = [["steps", "tokens"]]
    return together + [[of] for of in ratios if of == "time"]


def _paced(course: Course, record: Record, of: Ratio) -> Course:
    """The course over steps, tokens or seconds."""
    if of == "steps":
        return course
    if of == "time":
        return course.paced(record.wall_seconds / course.end)
    return course.paced(_tokens(record))


def _tokens(record: Record) -> float:
    """Tokens a step."""
    if TOKENS_PER_STEP not in record.metrics:
        where = f"record {record.config_hash} seed {record.seed}"
        raise RecordError(f"{where}: no metric {TOKENS_PER_STEP!r}, which the ratio of tokens takes")
    return record.metrics[TOKENS_PER_STEP]


def _not_run(filled: FilledRow) -> str:
    return f"{NOT_RUN}: {filled.reason}" if filled.reason else NOT_RUN


def _cells(line: RatioLine, claimed: bool) -> list[str]:
    found = line.passages
    return [
        line.filled.row.group,
        line.name,
        ", ".join(line.of),
        _median_and_interval(found) if found else NOTHING,
        f"{found.reached} of {found.n}" if found else NOTHING,
        f"{found.ahead} of {found.n}" if found and line.against else NOTHING,
        *([line.claimed or NOTHING] if claimed else []),
        line.verdict or NOTHING,
    ]


def _median_and_interval(found: Passages) -> str:
    middle, low, high = (one.text() for one in (found.median, found.low, found.high))
    return f"{middle} [{low}, {high}]" if low else middle
