"""Writes the costs of a table's rows, with their total."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from kiti.planning.costs import RowCost
from kiti.report import formats
from kiti.report.formats import NOTHING, Grid
from kiti.report.tables.notes import ranges

_HEADER = ["problem", "row", "runs", "seeds", "params", "steps", "samples", "FLOPs", "memory", "device h", "h here"]
_CSV_HEADER = (
    *("problem", "row", "runs", "seeds", "parameters", "steps_per_run", "samples_per_run", "flops_per_run", "flops"),
    *("peak_memory_mib", "device_hours", "hours_here", "same_as", "unknown"),
)


@dataclass(frozen=True)
class CostTable:
    """The costs of the rows of one table.

    Args:
        tflops: operations that a device does, in 10^12 a second.
        devices: how many share a batch; memory is that of one.
    """

    name: str
    title: str
    scale: str
    rows: Sequence[RowCost]
    tflops: float
    devices: int = 1

    @property
    def counted(self) -> list[RowCost]:
        """The rows with a cost, without those that repeat the runs of another."""
        return [each for each in self.rows if each.run and not each.again]

    def total(self) -> str:
        """The total, in words."""
        counted = self.counted
        here = [each for each in counted if each.hours_here is not None]
        hours = sum(each.hours_here or 0.0 for each in here)
        parts = [
            f"{sum(len(each.seeds) for each in counted)} runs",
            f"{sum(each.flops for each in counted):.3g} FLOPs",
            f"{formats.plain(self._device_hours, 3)} device-hours at {self.tflops:g} TFLOP/s",
        ]
        if here:
            of = "" if len(here) == len(counted) else f" for the {len(here)} of {len(counted)} rows with records"
            parts.append(f"{formats.plain(hours, 3)} hours here{of}")
        return f"Total: {', '.join(parts)}"

    @property
    def _device_hours(self) -> float:
        return sum(each.device_hours(self.tflops) for each in self.counted)

    def grid(self) -> Grid:
        """The table as text."""
        lines = [[each.row.group, each.row.label, *self._cells(each)] for each in self.rows]
        title = f"{self.title} (scale {self.scale}), cost"
        return Grid(title, _HEADER, lines, self._notes(), f"{self.name}-{self.scale}-cost".replace("/", "-"))

    def _cells(self, each: RowCost) -> list[str]:
        if each.run is None:
            return [NOTHING] * (len(_HEADER) - 2)
        here = NOTHING if each.hours_here is None else formats.plain(each.hours_here, 3)
        return [
            str(len(each.seeds)),
            ranges(each.seeds),
            _short(each.run.step.parameters),
            _short(each.run.steps),
            _short(each.run.samples),
            f"{each.flops:.2e}",
            _memory(each.run.step.peak_bytes),
            formats.plain(each.device_hours(self.tflops), 3),
            here,
        ]

    def _notes(self) -> list[str]:
        again = [f"{each.row.group}, {each.row.label} repeats {each.again}" for each in self.rows if each.again]
        unknown: dict[str, list[str]] = {}
        for each in self.rows:
            if each.reason:
                unknown.setdefault(each.reason, []).append(f"{each.row.group}, {each.row.label}")
        shared = f" that shares a batch with {self.devices - 1} others" if self.devices > 1 else ""
        return [
            *(f"No cost of {'; '.join(rows)}: {reason}" for reason, rows in unknown.items()),
            *([f"Counted once in the total: {'; '.join(again)}."] if again else []),
            "params, steps, samples and memory are those of one run; FLOPs and hours those of all runs of a row.",
            "FLOPs: torch.utils.flop_counter on one training step on the meta device, forward and backward, and on the "
            "evaluations; without collisions and optimizer.",
            f"memory: the most that is alive at once in a step on one device{shared}; without data set, libraries and "
            "their workspaces.",
            f"device h: on a device that sustains {self.tflops:g} TFLOP/s, see --tflops.",
            "h here: training only, from the records of this machine."
            if any(each.hours_here is not None for each in self.rows)
            else "h here: unknown, as there is no record of this machine.",
        ]

    def to_csv(self) -> str:
        """The table as CSV, one line per row; empty if unknown."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_CSV_HEADER)
        for each in self.rows:
            known = each.run and [
                *(len(each.seeds), " ".join(map(str, each.seeds)), each.run.step.parameters),
                *(each.run.steps, each.run.samples, f"{each.run.flops:.8g}", f"{each.flops:.8g}"),
                *(f"{each.run.step.peak_bytes / 2**20:.8g}", f"{each.device_hours(self.tflops):.8g}"),
                "" if each.hours_here is None else f"{each.hours_here:.8g}",
            ]
            writer.writerow([each.row.group, each.row.label, *(known or [""] * 10), each.again, each.reason])
        return text.getvalue()

    def show(self, console: Console) -> None:
        """Print it on a terminal."""
        formats.show(self.grid(), console)
        console.print(self.total(), style="bold", markup=False, highlight=False)

    def text(self, style: str) -> str:
        """The table as "md", "tex" or "csv"."""
        if style == "csv":
            return self.to_csv()
        grid = self.grid()
        with_total = Grid(grid.title, grid.header, grid.lines, [f"{self.total()}.", *grid.notes], grid.label)
        return formats.markdown(with_total) if style == "md" else formats.latex(with_total)


def _short(number: int) -> str:
    """`351`, `62.6k`, `25.6M`, `384M`."""
    value = float(number)
    for unit in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}T"


def _memory(size: int) -> str:
    """`0.12M`, `26M`, `7.4G`, in units of 1024² and 1024³ bytes."""
    mib = size / 2**20
    return f"{mib:.3g}M" if mib < 999.5 else f"{mib / 1024:.3g}G"
