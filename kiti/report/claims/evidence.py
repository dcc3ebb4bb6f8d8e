"""Reads what is committed: lines of output CSV files, the records behind them, benchmarks and simulations."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kiti.report import sheets
from kiti.report.sheets import Metric, Sheet, SheetError, TableSpec
from kiti.report.sheets.sheet_files import read_yaml
from kiti.report.significance import Comparison, half_width
from kiti.storage.records import Record, read_lines

SCALES = ("paper", "laptop")


@dataclass(frozen=True)
class OutputLine:
    """A line of a committed CSV file of a table: the cells by column."""

    cells: Mapping[str, str]

    def number(self, column: str) -> float:
        """The number in a column; nan if there is none. SheetError if the file has no such column."""
        if column not in self.cells:
            raise SheetError(f"an output without the column {column!r}: kiti-table --rebuild writes today's columns")
        return float(self.cells[column] or "nan")

    @property
    def group(self) -> str:
        return self.cells["problem"]

    @property
    def row(self) -> str:
        return self.cells["row"]

    @property
    def key(self) -> str:
        """The key of the metric in the records."""
        return self.cells["metric"]

    @property
    def baseline(self) -> str:
        return self.cells["baseline"]

    @property
    def was_run(self) -> bool:
        """Whether the row has a number from a run."""
        return self.cells["n"] not in ("", "0") and self.cells.get("seeds") != ""

    @property
    def n(self) -> int:
        """Seeds of the comparison, or of the row if it is compared with none."""
        return int(self.cells["paired_n" if self.baseline else "n"] or 0)

    @property
    def is_primary(self) -> bool:
        return self.cells.get("primary") == "yes"

    @property
    def verdict(self) -> str:
        return self.cells["verdict"]

    @property
    def factor(self) -> float:
        """What turns a difference of the metric into its unit: a fraction of the baseline, or points.

        nan where the baseline is zero.
        """
        if self.cells.get("effect") != "relative":
            return 1.0
        level = self.number("baseline_level")
        return 1 / level if level else math.nan

    @property
    def unit(self) -> str:
        return self.cells.get("effect") or "points"

    def effect(self) -> tuple[float, float, float]:
        """The difference to the baseline with its 95 % interval, in the metric's unit."""
        middle, low, high = (self.factor * self.number(column) for column in ("difference", "ci_low", "ci_high"))
        return middle, low, high

    def comparison(self) -> Comparison:
        """The difference in the metric itself, its spread calculated from the interval."""
        numbers = (self.number(column) for column in ("difference", "ci_low", "ci_high", "p"))
        difference, low, high, p = numbers
        spread = (high - low) / 2 / half_width(1.0, self.n) if self.n > 1 else math.nan
        return Comparison(self.n, difference, spread, low, high, p)

    @property
    def margin(self) -> float:
        """The difference of the metric that does not matter; nan if there is none."""
        return self.number("margin") / self.factor


class Evidence:
    """What is committed below the folder `root`, for the claims of one `paper`."""

    def __init__(self, root: Path, paper: str) -> None:
        self.root, self.paper = root, paper
        self._sheets: dict[str, Sheet] = {}
        self._tables: dict[tuple[str, str], TableSpec] = {}
        self._outputs: dict[tuple[str, str], list[OutputLine]] = {}
        self._json: dict[str, Any] = {}

    def sheet(self, name: str) -> Sheet:
        """The sheet <paper>/<name>."""
        if name not in self._sheets:
            self._sheets[name] = sheets.load(f"{self.paper}/{name}", self.root)
        return self._sheets[name]

    def table(self, name: str, scale: str) -> TableSpec:
        """The table of a sheet at a scale."""
        if (name, scale) not in self._tables:
            self._tables[name, scale] = self.sheet(name).table(scale)
        return self._tables[name, scale]

    def source(self, name: str, scale: str) -> str:
        """The committed page of a sheet, relative to the root."""
        return f"{self.paper}/outputs/{name}.{scale}.md"

    def output(self, name: str, scale: str) -> list[OutputLine]:
        """The lines of a committed CSV file; none if there is no such file."""
        if (name, scale) not in self._outputs:
            path = self.root / self.paper / "outputs" / f"{name}.{scale}.csv"
            lines = csv.DictReader(path.open(newline="")) if path.is_file() else []
            self._outputs[name, scale] = [OutputLine(line) for line in lines]
        return self._outputs[name, scale]

    def best_scale(self, name: str) -> str:
        """The paper's own scale if its output has numbers, else the sheet's default."""
        scales = self.sheet(name).scales
        with_numbers = [one for one in SCALES if any(line.was_run for line in self.output(name, one))]
        return next((one for one in with_numbers if one in scales), sheets.default_scale(self.sheet(name)))

    def metric(self, name: str, scale: str, group: str, key: str) -> Metric:
        """The metric of a sheet that the records of a row of this problem have under `key`."""
        spec = self.table(name, scale)
        for row in spec.rows:
            for metric in spec.metrics:
                if row.group == group and row.has(metric) and key in row.keys_of(metric):
                    return metric
        raise SheetError(f"{self.paper}/{name}: {group} has no metric {key!r}")

    def records(self, line: OutputLine) -> dict[int, Record]:
        """The records behind a line by seed."""
        seeds = set(map(int, line.cells["seeds"].split()))
        return {seed: record for seed, record in self._records_of(line.cells["config_hash"]).items() if seed in seeds}

    def values(self, line: OutputLine, factor: float = 1.0) -> dict[int, float]:
        """The metric of a line by seed, from the records."""
        return {seed: factor * record.metrics[line.key] for seed, record in self.records(line).items()}

    def json(self, path: str) -> Any:
        """A committed JSON file, as benchmarks/ko.cpu.json; None if there is none."""
        if path not in self._json:
            found = self.root / path
            self._json[path] = json.loads(found.read_text()) if found.is_file() else None
        return self._json[path]

    def printed(self, name: str) -> Any:
        """The printed numbers in <paper>/printed/<name>.yaml."""
        path = self.root / self.paper / "printed" / f"{name}.yaml"
        if not path.is_file():
            raise SheetError(f"no printed numbers {path}")
        return read_yaml(path)

    def _records_of(self, config_hash: str) -> dict[int, Record]:
        files = self._files_of.get(config_hash, [])
        found = [record for path in files for record in read_lines(path, config_hash)]
        return {record.seed: record for record in found if record.replicate is None}

    @cached_property
    def _files_of(self) -> dict[str, list[Path]]:
        """The files of committed records by the hash of a configuration."""
        found: dict[str, list[Path]] = {}
        for path in sorted((self.root / self.paper / "records").glob("*.jsonl")):
            for config_hash in _hashes(path):
                found.setdefault(config_hash, []).append(path)
        return found


def _hashes(path: Path) -> set[str]:
    """The hashes of the configurations in a file, found without parsing it."""
    marker = '"config_hash":"'
    return {part.split('"', 1)[0] for part in path.read_text().split(marker)[1:]}
