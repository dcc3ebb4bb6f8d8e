"""Every table and figure: what the committed outputs show of it at each scale, and the command that fills the rest.

Read from the committed CSV files alone, so that it takes a second.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from kiti.report import sheets
from kiti.report.formats import NOTHING, Grid
from kiti.report.sheets import Sheet, StepsSpec
from kiti.report.significance import NOT_RUN


@dataclass(frozen=True)
class Filled:
    """What a sheet shows at one scale: `cells` of `of` have a number, and the verdicts of its primary comparisons."""

    scale: str
    cells: int
    of: int
    verdicts: Counter[str]

    @property
    def brief(self) -> str:
        """`2 better, 1 undecided`."""
        return ", ".join(f"{number} {word}" for word, number in self.verdicts.most_common())


def overview(roots: list[Path]) -> Grid:
    """One line for each sheet and scale below the folders `roots`; SheetError for an invalid sheet."""
    lines = []
    for root in roots:
        for name in sheets.names(root):
            sheet = sheets.load(name, root)
            for number, scale in enumerate(scale for scale in sheet.scales if scale != "smoke"):
                found = filled(sheet, name, scale, root)
                command = f"kiti-table {name} --scale {scale} --run"
                lines.append(
                    [
                        name.split("/")[0],
                        "" if number else f"{name.split('/')[1]}: {sheet.title.split(', ', 1)[-1]}",
                        scale,
                        f"{found.cells} of {found.of}",
                        found.brief or NOTHING,
                        command if found.cells < found.of else NOTHING,
                    ]
                )
    header = ["paper", "table or figure", "scale", "cells", "verdicts", "command for the rest"]
    notes = ["cells: those with a number in the committed outputs, of all with a printed number, or else of all rows."]
    return Grid("Tables and figures", header, lines, notes, grouped=True)


def filled(sheet: Sheet, name: str, scale: str, root: Path) -> Filled:
    """What the committed output of a sheet shows at a scale."""
    spec = sheet.table(scale)
    path = sheets.outputs_stem(name, root).with_name(f"{Path(name).name}.{scale}.csv")
    lines = list(csv.DictReader(path.open(newline=""))) if path.is_file() else []
    verdicts = Counter(line["verdict"].split(" (")[0] for line in lines if line.get("primary") == "yes")
    if isinstance(sheet, StepsSpec):
        verdicts = Counter(line["verdict"] for line in lines if line["p_corrected"])
    del verdicts[""], verdicts[NOT_RUN]
    printed = {
        (row.group, row.label, key)
        for row in spec.rows
        for metric in spec.metrics
        if row.printed(metric) and scale in (metric.scales or [scale])
        for key in row.keys_of(metric)
    }
    rows = {(row.group, row.label) for row in spec.rows}
    with_number = {
        (line["problem"], line["row"], line.get("metric", "")) for line in lines if line["n"] not in ("", "0")
    }
    if printed:
        return Filled(scale, len(printed & with_number), len(printed), verdicts)
    found = {(group, row.removesuffix(", itself")) for group, row, _ in with_number}  # of steps to a value
    return Filled(scale, len(rows & found), len(rows), verdicts)
