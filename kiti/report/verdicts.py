"""All primary comparisons of a paper, from the committed CSV files, for one figure on one page."""

import csv
import math
from pathlib import Path

from kiti.report import sheets
from kiti.report.drawing.draw_intervals import Interval, draw
from kiti.report.tables.table_csv import REPLICATES

NAME = "verdicts"


def figure(paper: str, experiments: Path, outputs: Path) -> dict[str, bytes]:
    """The figure as PNG and SVG, by file extension; empty while no primary comparison has an interval.

    The sheets are below `experiments`, their outputs below `outputs`.
    """
    found: dict[str, list[Interval]] = {"relative": [], "points": []}
    for name in sheets.names(experiments):
        if name.split("/")[0] == paper:
            for path in sorted(sheets.outputs_stem(name, outputs).parent.glob(f"{name.split('/')[1]}.*.csv")):
                if path.name.endswith(f".{REPLICATES}"):
                    continue
                for unit, interval in _intervals(path):
                    found[unit].append(interval)
    if not any(found.values()):
        return {}
    return draw(f"{paper}: every primary comparison", found["relative"], found["points"])


def _intervals(path: Path) -> list[tuple[str, Interval]]:
    """The primary comparisons of a CSV file with an interval, each with the unit of its numbers."""
    sheet, scale, _ = path.name.split(".")
    found = []
    with path.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line.get("primary") == "yes"]
    several = len({line["metric"] for line in lines}) > 1
    for line in lines:
        if line["ci_low"]:
            unit = line["effect"]
            level = float(line["baseline_level"]) / 100 if unit == "relative" else 1.0
            factor = 100 if unit == "relative" else 1
            difference, low, high = (float(line[key]) / level for key in ("difference", "ci_low", "ci_high"))
            printed, margin = (factor * _number(line[key]) for key in ("printed_effect", "margin"))
            label = f"{sheet} ({scale}) {line['problem']}, {line['row']}"
            label += f", {line['metric'].split('/', 1)[-1]}" if several else ""
            found.append((unit, Interval(label, difference, low, high, printed, margin, line["verdict"])))
    return found


def _number(text: str) -> float:
    return float(text) if text else math.nan
