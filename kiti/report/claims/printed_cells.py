"""Every number printed in a cell of the papers' tables, and where the committed outputs answer it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kiti.report import formats, sheets
from kiti.report.claims.evidence import SCALES, Evidence, OutputLine
from kiti.report.claims.measured import variants
from kiti.report.formats import NOTHING
from kiti.report.sheets import Metric, Row, TableSpec

NOT_COUNTED = "not counted"


@dataclass(frozen=True)
class PrintedCell:
    """A printed number: `ours` is the mean at the scale of `basis` in the file `source`; `reason` is why there is none.

    `at` is the scale, "measured" for ratios of cost, or empty.
    """

    paper: str
    table: str
    row: str
    column: str
    digits: str
    at: str = ""
    ours: str = ""
    basis: str = ""
    source: str = ""
    reason: str = ""

    def line(self, folder: str) -> list[str]:
        """The cells of the page, with a link from `folder`."""
        link = f"[{Path(self.source).stem}]({os.path.relpath(self.source, folder)})" if self.source else NOTHING
        answered = [self.ours, self.basis, link] if self.at else ["not attempted", NOTHING, self.reason]
        return [self.paper, self.table, self.row, self.column, self.digits, *answered]


def printed_cells(root: Path, papers: list[str]) -> list[PrintedCell]:
    """Those of every table of the papers, in their order."""
    found: list[PrintedCell] = []
    for paper in papers:
        evidence = Evidence(root, paper)
        for name in sheets.names(root):
            if name.startswith(f"{paper}/table") and not name.endswith("_steps"):
                found += _of_sheet(name.split("/")[1], evidence)
        found += _of_flops(evidence) if (root / paper / "printed" / "mflops.yaml").is_file() else []
        found += _of_cost(evidence) if (root / paper / "printed" / "cost.yaml").is_file() else []
    return found


def _of_sheet(name: str, evidence: Evidence) -> Iterator[PrintedCell]:
    tables = {scale: evidence.table(name, scale) for scale in SCALES if scale in evidence.sheet(name).scales}
    first = next(iter(tables))
    for row in tables[first].rows:
        for metric in _metrics(row, tables[first], first):
            digits = row.printed(metric)
            if not digits:
                continue
            table = f"Table {name.removeprefix('table')}"
            names = (evidence.paper, table, f"{row.group}: {row.label}", metric.label, digits)
            yield next(
                _answers(names, name, row, metric, tables, evidence),
                PrintedCell(*names, reason=_reason(row, name, evidence)),
            )


def _answers(
    names: tuple[str, str, str, str, str],
    name: str,
    row: Row,
    metric: Metric,
    tables: dict[str, TableSpec],
    evidence: Evidence,
) -> Iterator[PrintedCell]:
    """The cell as it is answered at each scale that has a number, the paper's own first."""
    for scale, spec in tables.items():
        same = [one for one in _metrics(row, spec, scale) if one.label == metric.label and row.printed(one)]
        keys = {key for one in same for key in row.keys_of(one)}
        for line in evidence.output(name, scale):
            if (line.group, line.row) == (row.group, row.label) and line.key in keys and _seeds(line):
                stand_in = "stand-in" if line.cells.get("stand_in") else ""
                basis = ", ".join(part for part in (scale, stand_in, f"n {_seeds(line)}") if part)
                ours = formats.mean_and_std(line.number("mean"), line.number("std"))
                yield PrintedCell(*names, scale, ours, basis, evidence.source(name, scale))
                break


def _metrics(row: Row, spec: TableSpec, scale: str) -> list[Metric]:
    return [metric for metric in spec.metrics if row.has(metric) and scale in (metric.scales or [scale])]


def _seeds(line: OutputLine) -> int:
    return int(line.cells["n"] or 0)


def _reason(row: Row, name: str, evidence: Evidence) -> str:
    """Why nothing answers the cells of a row."""
    scale = sheets.default_scale(evidence.sheet(name))
    run = f"no run is committed; `kiti-table {evidence.paper}/{name} --scale {scale} --run`"
    return f"not at scale laptop: {row.not_run['laptop']}" if "laptop" in row.not_run else run


def _of_flops(evidence: Evidence) -> Iterator[PrintedCell]:
    """The column MFLOPs: counted, not run."""
    source = f"{evidence.paper}/outputs/cost.md"
    counted = "counted" if (evidence.root / source).is_file() else ""
    for depth, networks in evidence.printed("mflops")["printed"].items():
        for network, digits in networks.items():
            names = (evidence.paper, "Table 3", f"ResNet-{depth}: {network}", "MFLOPs", digits)
            shown = "counted on the page" if counted else ""
            yield PrintedCell(*names, counted, shown, counted, source if counted else "", NOT_COUNTED)


def _of_cost(evidence: Evidence) -> Iterator[PrintedCell]:
    """KO's run times and memory: only their ratios can be compared with other machines'."""
    benchmark = "ko_cost.cpu"
    for classes, networks in evidence.printed("cost").items():
        table = {10: "Table 4", 100: "Table 5"}[classes]
        for depth, rows in networks.items():
            case = f"ResNet-{depth}, {classes} classes"
            for variant, printed in rows.items():
                found = variants(evidence, benchmark, [], "add" if variant == "none" else variant).get(case)
                baseline = variants(evidence, benchmark, [], "add").get(case)
                for column, digits in zip(("seconds", "MB"), printed, strict=True):
                    names = (evidence.paper, table, f"ResNet-{depth}: {variant}", column, digits)
                    if not (found and baseline):
                        yield PrintedCell(*names, reason="not measured")
                        continue
                    key = "median_s" if column == "seconds" else "peak_bytes"
                    ratio = f"{found[key] / baseline[key]:.3f} times that of none"
                    basis = f"batch 32 on a CPU, {found['runs']} steps"
                    yield PrintedCell(*names, "measured", ratio, basis, f"benchmarks/{benchmark}.md")
