"""Print a table or figure from the records; --run first trains the missing runs.

kiti-table kitinet/table4                    read the existing records, print the table
kiti-table kitinet/table4 --run --jobs 2     first train the missing runs; call again to resume
kiti-table kitinet/table4 --only Burgers     only the rows of these problems
kiti-table kitinet/table4 --plan             what its runs cost: parameters, steps, FLOPs, memory, hours; starts none
kiti-table kitinet/table4 kitinet/table6     several tables, whose missing runs are trained together
kiti-table kitinet/table4 --run --replicate NAME     the same runs again, on another processor for example
kiti-table kitinet/table4 --publish          copy the local records and the table next to its YAML
kiti-table sweep/coll_coef/burgers --run     sweep an experiment over coll_coef; sweep/collision_heads/burgers likewise
kiti-table kitinet/claims                    every claim of the paper in prose: seen, not seen, undecided or not run
kiti-table coverage                          how many printed numbers and claims are answered, and where
kiti-table --rebuild                         rewrite every committed table, figure and page from committed records
"""

import argparse
import gc
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kiti.cli import table_options
from kiti.cli.planned_tables import Planned, folder_of, given_names, overrides, sheet_folders
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus, gravest

if TYPE_CHECKING:  # imported where used, so that --help is fast
    from rich.console import Console

    from kiti.launching.launch import Launch
    from kiti.report.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with the gravest status of its runs, or with STOPPED on a signal: docs/stopping.md."""
    if arguments is None:
        stop_signals.leave_at_once("kiti-table: stopped; the same command goes on")
    options = table_options.parser(__doc__ or "").parse_intermixed_args(arguments)  # NAME --run override
    if options.replicate and (doing := [name for name in ("plan", "rebuild") if getattr(options, name)]):
        print(f"kiti-table: --{doing[0]} is for the runs themselves; leave out --replicate", file=sys.stderr)
        sys.exit(2)
    if options.plan and (doing := [name for name in ("run", "publish", "rebuild") if getattr(options, name)]):
        print(f"kiti-table: --plan starts and writes nothing; leave out --{doing[0]}", file=sys.stderr)
        sys.exit(2)
    if arguments is None and not options.run:
        gc.disable()  # saves a tenth of the time in a short process with many small objects
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `kiti-table … | head` ends without a traceback
    from kiti.configuration.explain import ConfigError
    from kiti.report.sheets import SheetError
    from kiti.storage.records import RecordError
    from kiti.units import plugins

    try:
        plugins.enable(options.plugin)
        status = _chosen(options)(options)
    except (ConfigError, RecordError, SheetError, plugins.PluginError) as error:
        print(f"kiti-table: {error}", file=sys.stderr)
        status = ExitStatus.BAD_INPUT
    if not gc.isenabled():
        gc.freeze()  # or the interpreter collects once more at its end, which takes seconds
    sys.exit(status)


def _chosen(options: argparse.Namespace) -> Callable[[argparse.Namespace], ExitStatus]:
    """What the options ask for."""
    if options.rebuild:
        return _rebuild
    if not options.names:
        return _show_overview
    if any(name == "coverage" or name.endswith("/claims") for name in options.names):
        return _show_pages
    return _show_costs if options.plan else _show_tables


def _show_pages(options: argparse.Namespace) -> ExitStatus:
    """Pages of claims and of coverage."""
    from kiti.cli import claim_pages
    from kiti.report import sheets

    forbidden = ("run", "publish", "plan", "dry_run", "only", "scale", "seeds", "replicate")
    if doing := [name for name in forbidden if getattr(options, name)]:
        option = f"--{doing[0].replace('_', '-')}"
        raise sheets.SheetError(f"{option} is not for claims, which are read from committed outputs")
    claim_pages.show(options.names, sheet_folders(options), options.format, options.wide)
    return ExitStatus.FINISHED


def _show_overview(options: argparse.Namespace) -> ExitStatus:
    """Without a NAME: what there is, how much of it is filled, and how to fill the rest."""
    from rich.console import Console

    from kiti.report import formats, sheets, sweeps
    from kiti.report.overview import overview

    if doing := [
        name for name in ("run", "publish", "plan", "dry_run", "only", "scale", "replicate") if getattr(options, name)
    ]:
        raise sheets.SheetError(f"--{doing[0].replace('_', '-')} requires a NAME; kiti-table alone lists them")
    if options.format != "md":
        raise sheets.SheetError(f"--format {options.format} requires a NAME; the list is text")
    console, grid = Console(), overview(sheet_folders(options))
    if console.is_terminal:
        formats.show(grid, console)
    else:
        sys.stdout.write(formats.markdown(grid))
    print("Sweeps of one key: " + ", ".join(f"kiti-table {name}" for name in sweeps.names()))
    if papers := [paper for root in sheet_folders(options) for paper in sheets.claims_papers(root)]:
        print(
            "Claims in prose: " + ", ".join(f"kiti-table {paper}/claims" for paper in papers) + ", kiti-table coverage"
        )
    return ExitStatus.FINISHED


def _show_tables(options: argparse.Namespace) -> ExitStatus:
    from rich.console import Console

    from kiti.launching.launch import default_jobs, launch, missing_runs
    from kiti.launching.needed_files import startable
    from kiti.report.publishing import outputs, publish, write
    from kiti.report.table_runs import Archive, runs_dir
    from kiti.report.tables import build

    plans = [Planned.of(name, options) for name in given_names(options)]
    status = ExitStatus.FINISHED
    if options.dry_run:
        for run in missing_runs(*(one.plan for one in plans)):
            print(shlex.join(["python", *run.command]))
        return status
    if options.run:
        errors = Console(stderr=True)
        every = [one.plan for one in plans]
        ready, lacking = startable(missing_runs(*every), every)
        for line in lacking:
            print(f"kiti-table: {line}", file=sys.stderr)
        launched = launch(ready, options.jobs or default_jobs(len(ready)), errors)
        status = _report(launched, errors)
        if launched.signal:
            return status
        status = gravest([status, *([ExitStatus.BAD_INPUT] if lacking else [])])
    archives = {paper: Archive.of_paper(paper, replicate=options.replicate) for paper in {one.paper for one in plans}}
    if options.run:  # of this call or an earlier one
        for run_dir, where in sorted({found for one in plans for found in one.diverged(archives[one.paper])}):
            print(f"diverged: {run_dir}{where}", file=sys.stderr)
            status = gravest([status, ExitStatus.DIVERGED])
    tables = [build(one.name, one.spec, one.scale, one.plan, archives[one.paper]) for one in plans]
    if options.publish:
        for root in dict.fromkeys(one.root for one in plans):
            mine = [(one.sheet, table) for one, table in zip(plans, tables, strict=True) if one.root == root]
            publish(mine, root, options.replicate)
    elif options.run:
        selected = "".join(f".{problem}" for problem in options.only or [])
        selected += "".join("." + re.sub(r"[^\w.=,+]+", "-", override) for override in overrides(options))
        for one, table in zip(plans, tables, strict=True):
            stem = runs_dir(one.plan) / "tables" / f"{one.name}.{one.scale}{selected}"
            print(*write(outputs(one.sheet, table), stem), sep="\n", file=sys.stderr)
    for number, table in enumerate(tables):
        if number:
            print()
        _print(table, options.format, options.wide)
    return status


def _show_costs(options: argparse.Namespace) -> ExitStatus:
    from rich.console import Console

    from kiti.planning import row_costs
    from kiti.planning.cost_table import CostTable
    from kiti.planning.kept_steps import KeptSteps
    from kiti.planning.seed_table import seed_grid
    from kiti.planning.step_processes import StepProcesses
    from kiti.report import formats
    from kiti.report.table_runs import Archive
    from kiti.report.tables import build

    processes = StepProcesses()
    names = given_names(options)
    kept = {root: KeptSteps.of(root) for root in {folder_of(name, options) for name in names}}
    if options.devices > 1 or any(name not in kept[folder_of(name, options)].sheets for name in names):
        processes.start()  # importing torch takes as long as reading the sheets
    plans = [Planned.of(name, options) for name in names]
    archives = {paper: Archive.of_paper(paper) for paper in {one.paper for one in plans}}
    tables = [row_costs.Planned(one.spec, one.scale, one.plan, archives[one.paper], kept[one.root]) for one in plans]
    costs = row_costs.table_costs(tables, processes, options.devices)

    console = Console()
    for number, (one, rows) in enumerate(zip(plans, costs, strict=True)):
        table = CostTable(one.name, one.spec.title, one.scale, rows, options.tflops, options.devices)
        if number:
            print()
        if options.format == "md" and console.is_terminal:
            table.show(console)
        else:
            sys.stdout.write(table.text(options.format))
        if one.spec.primary and not one.spec.ratios and options.format != "csv":
            seeds = seed_grid(build(one.name, one.spec, one.scale, one.plan, archives[one.paper]))
            print()
            if console.is_terminal:
                formats.show(seeds, console)
            else:
                sys.stdout.write(formats.markdown(seeds) if options.format == "md" else formats.latex(seeds))
    return ExitStatus.FINISHED


def _report(launched: "Launch", console: "Console") -> ExitStatus:
    """Print which runs did not finish and return the exit status."""
    for outcome in launched.unfinished:
        line = f"{outcome.state}: {outcome.run.name}: {outcome.reason} (log: {outcome.run.log})"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return launched.status


def _print(table: "Table", style: str, wide: bool) -> None:
    from rich.console import Console

    from kiti.report import formats
    from kiti.report.tables import full_grid, grid, outputs

    console = Console()
    if style == "md" and console.is_terminal:
        formats.show(full_grid(table) if wide else grid(table), console)
    elif wide and style != "csv":  # CSV is always wide
        sys.stdout.write({"md": formats.markdown, "tex": formats.latex}[style](full_grid(table)))
    else:
        sys.stdout.write(outputs(table)[style].decode())


def _rebuild(options: argparse.Namespace) -> ExitStatus:
    from kiti.report import sheets
    from kiti.report.claims import written
    from kiti.report.publishing import rebuild

    roots = sheet_folders(options)
    pages = {name: root for root in reversed(roots) for name in written.names(root)}
    names = options.names or [*(name for root in roots for name in sheets.names(root)), *pages]
    by_root: dict[Path, list[str]] = {}
    for name in names:
        by_root.setdefault(pages[name] if name in pages else folder_of(name, options), []).append(name)
    for root, wanted in by_root.items():
        for path in rebuild(root, options.into or root, wanted):
            print(path)
    return ExitStatus.FINISHED


if __name__ == "__main__":
    main()
