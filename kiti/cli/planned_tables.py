"""Finds the tables that kiti-table is asked for, and composes their runs."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where used, so that --help is fast
    from kiti.report.sheets import Sheet, TableSpec
    from kiti.report.table_runs import Archive, Plan


def overrides(options: argparse.Namespace) -> list[str]:
    """The overrides of a sweep."""
    return [one for one in options.names if "=" in one]


def sheet_folders(options: argparse.Namespace) -> list[Path]:
    """The folders of sheets."""
    from kiti.report import sheets
    from kiti.units import plugins

    if options.experiments:
        return [options.experiments]
    return [sheets.EXPERIMENTS, *plugins.folders("experiments")]


def folder_of(name: str, options: argparse.Namespace) -> Path:
    """The folder of the sheet `name`. Raises SheetError, before any run, if it is missing or must not be written to."""
    from kiti.configuration.locations import CHECKOUT
    from kiti.report import sheets, sweeps

    roots = sheet_folders(options)
    if sweeps.is_sweep(name):
        if options.publish or options.rebuild:
            raise sheets.SheetError(f"{name}: a sweep has no YAML beside which its records could be committed")
        return roots[0]
    known = [*(one for root in roots for one in sheets.names(root)), *sweeps.names()]
    found = [root for root in roots if name in sheets.names(root)]
    if not found:
        raise sheets.SheetError(f"no table or figure {name!r}; there are: {', '.join(known) or 'none'}")
    if CHECKOUT is None and found[0] == sheets.EXPERIMENTS:
        if options.rebuild and not options.into:
            raise sheets.SheetError("--rebuild would write into the installed package; give --into or --experiments")
        if options.publish and not options.rebuild:
            raise sheets.SheetError("--publish would write into the installed package; give --experiments")
    return found[0]


def given_names(options: argparse.Namespace) -> list[str]:
    """The NAMEs, each once. Raises SheetError without any."""
    from kiti.report import sheets

    given = [name for name in options.names if "=" not in name]
    if not given:
        raise sheets.SheetError("overrides without the NAME of a sweep; `kiti-table` alone lists what there is")
    return list(dict.fromkeys(given))


@dataclass(frozen=True)
class Planned:
    """A table or figure with the configurations of its rows; `root` is the folder of sheets."""

    name: str
    root: Path
    sheet: "Sheet"
    spec: "TableSpec"
    scale: str
    plan: "Plan"

    @property
    def paper(self) -> Path:
        """The folder of the sheet, its records and outputs."""
        return (self.root / self.name).parent

    def diverged(self, archive: "Archive") -> list[tuple[Path, str]]:
        """The directories of local runs that have diverged, and where in the training, if that is known."""
        from kiti.report.table_runs import TableRun

        runs = [run for run in self.plan.values() if isinstance(run, TableRun)]
        stored = [found for run in runs for found in archive.records(run, run.seeds).values()]
        lost = [one for one in stored if one.record.state == "diverged" and not one.committed]
        return [(one.folder, f": {one.record.divergence}" if one.record.divergence else "") for one in lost]

    @classmethod
    def of(cls, name: str, options: argparse.Namespace) -> "Planned":
        """The table NAME with these options. SheetError or ConfigError if they do not fit."""
        from kiti.report import sheets, sweeps
        from kiti.report.table_runs import plan, runs_dir

        root = folder_of(name, options)
        sheet: sheets.Sheet
        if sweeps.is_sweep(name):
            if isinstance(options.seeds, str):
                raise sheets.SheetError(f"{name}: --seeds {options.seeds}: a sweep has no pilot; give a number")
            sheet, scale = sweeps.sheet(name, options.scale, options.seeds, options.only or (), overrides(options))
            spec = sheet.table(scale)
        else:
            if isinstance(options.seeds, int) or overrides(options):
                raise sheets.SheetError(f"{name}: a number of seeds and overrides are for sweeps; its YAML has its own")
            sheet = sheets.load(name, root)
            scale = options.scale or sheets.default_scale(sheet)
            spec = sheet.table(scale)
            spec = spec.only(options.only) if options.only else spec
            spec = spec.pilot() if options.seeds == "pilot" else spec
        sheets.scale_of(sheet, name, scale)
        planned = plan(spec, scale, any_commit=options.plan)
        if options.replicate:
            spec = spec.placed(runs_dir(planned) / "replicates" / options.replicate)
            planned = plan(spec, scale, any_commit=options.plan)
        return cls(name, root, sheet, spec, scale, planned)
