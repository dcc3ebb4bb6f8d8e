"""Print a table or figure from the records; --run first trains the missing runs.

kiti-table kitinet/table4                    read the existing records, print the table
kiti-table kitinet/table4 --run --jobs 2     first train the missing runs; call again to resume
kiti-table kitinet/table4 --only Burgers     only the rows of these problems
kiti-table kitinet/table4 --plan             what its runs cost: parameters, steps, FLOPs, memory, hours; starts none
kiti-table kitinet/table4 kitinet/table6     several tables, whose missing runs are trained together
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus, gravest

if TYPE_CHECKING:  # imported where used, so that --help is fast
    from rich.console import Console

    from kiti.launching.launch import Launch
    from kiti.report.sheets import Sheet, TableSpec
    from kiti.report.table_runs import Archive, Plan
    from kiti.report.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with the gravest status of its runs, or with STOPPED on a signal: docs/stopping.md."""
    if arguments is None:
        stop_signals.leave_at_once("kiti-table: stopped; the same command goes on")
    options = _parser().parse_intermixed_args(arguments)  # NAME --run override
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
        show = _rebuild if options.rebuild else _show_costs if options.plan else _show_tables
        if not options.names and not options.rebuild:
            show = _show_overview
        elif not options.rebuild and any(name.endswith(_PAGES) for name in options.names):
            show = _show_pages
        status = show(options)
    except (ConfigError, RecordError, SheetError, plugins.PluginError) as error:
        print(f"kiti-table: {error}", file=sys.stderr)
        status = ExitStatus.BAD_INPUT
    if not gc.isenabled():
        gc.freeze()  # or the interpreter collects once more at its end, which takes seconds
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kiti-table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="tables or figures as <paper>/<name>: kitinet/table4; with a sweep, overrides as well: model.depth=50",
    )
    parser.add_argument(
        "--scale",
        choices=("paper", "laptop", "smoke"),
        help="default: laptop, or paper for tables without that scale",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="PROBLEM", help="only the rows of these problems; kiti, soft or hard in a sweep"
    )
    parser.add_argument(
        "--run", action="store_true", help="train the runs without a local record, then write the outputs"
    )
    parser.add_argument("--plan", action="store_true", help="print what the runs will cost; starts and writes nothing")
    parser.add_argument(
        "--tflops",
        type=_positive_number,
        default=_TFLOPS,
        metavar="X",
        help="with --plan: 10^12 operations that a device does a second; default: %(default)g, a sixth of the 312 that "
        "an A100 can do at most in bfloat16",
    )
    parser.add_argument(
        "--devices", type=_positive, default=1, metavar="N", help="with --plan: devices that share a batch; default: 1"
    )
    parser.add_argument(
        "--jobs", type=_positive, metavar="N", help="runs at a time; default: one per GPU, or per core without GPUs"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the commands of the runs that --run starts")
    parser.add_argument(
        "--seeds",
        type=_seeds,
        metavar="N|planned|pilot",
        help="of a sweep: the number of seeds, from 0, default 3; of a table: those on which its result rests, or "
        "those of the pilot before, default planned",
    )
    parser.add_argument(
        "--wide", action="store_true", help="print every row, metric and baseline, not only what decides"
    )
    parser.add_argument("--format", choices=("md", "csv", "tex"), default="md", help="what to print; default: md")
    parser.add_argument(
        "--publish", action="store_true", help="copy records and outputs next to the YAML, to be committed"
    )
    parser.add_argument("--rebuild", action="store_true", help="rewrite committed outputs (of NAMEs, or all)")
    parser.add_argument("--into", type=Path, metavar="DIR", help="with --rebuild: write below DIR instead of in place")
    parser.add_argument(
        "--experiments", type=Path, metavar="DIR", help="where the YAMLs are; default: kiti's own and the plug-ins'"
    )
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="PATH",
        help="a Python file or package outside kiti; repeatable",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _seeds(text: str) -> int | str:
    return text if text in ("planned", "pilot") else _positive(text)


def _positive_number(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _overrides(options: argparse.Namespace) -> list[str]:
    return [one for one in options.names if "=" in one]


def _roots(options: argparse.Namespace) -> list[Path]:
    """The folders of sheets."""
    from kiti.report import sheets
    from kiti.units import plugins

    if options.experiments:
        return [options.experiments]
    return [sheets.EXPERIMENTS, *plugins.folders("experiments")]


def _root(name: str, options: argparse.Namespace) -> Path:
    """The folder of the sheet `name`. Raises SheetError, before any run, if it is missing or must not be written to."""
    from kiti.configuration.locations import CHECKOUT
    from kiti.report import sheets, sweeps

    roots = _roots(options)
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


def _names(options: argparse.Namespace) -> list[str]:
    """The NAMEs, each once. Raises SheetError without any."""
    from kiti.report import sheets

    given = [name for name in options.names if "=" not in name]
    if not given:
        raise sheets.SheetError("overrides without the NAME of a sweep; `kiti-table` alone lists what there is")
    return list(dict.fromkeys(given))


_PAGES = ("/claims", "coverage")


def _show_pages(options: argparse.Namespace) -> ExitStatus:
    """Pages of claims and of coverage."""
    from kiti.cli import claim_pages
    from kiti.report import sheets

    forbidden = ("run", "publish", "plan", "dry_run", "only", "scale", "seeds")
    if doing := [name for name in forbidden if getattr(options, name)]:
        option = f"--{doing[0].replace('_', '-')}"
        raise sheets.SheetError(f"{option} is not for claims, which are read from committed outputs")
    claim_pages.show(options.names, _roots(options), options.format, options.wide)
    return ExitStatus.FINISHED


def _show_overview(options: argparse.Namespace) -> ExitStatus:
    """Without a NAME: what there is, how much of it is filled, and how to fill the rest."""
    from rich.console import Console

    from kiti.report import formats, sheets, sweeps
    from kiti.report.overview import overview

    if doing := [name for name in ("run", "publish", "plan", "dry_run", "only", "scale") if getattr(options, name)]:
        raise sheets.SheetError(f"--{doing[0].replace('_', '-')} requires a NAME; kiti-table alone lists them")
    console, grid = Console(), overview(_roots(options))
    if console.is_terminal:
        formats.show(grid, console)
    else:
        sys.stdout.write(formats.markdown(grid))
    print("Sweeps of one key: " + ", ".join(f"kiti-table {name}" for name in sweeps.names()))
    if papers := [paper for root in _roots(options) for paper in sheets.claims_papers(root)]:
        print(
            "Claims in prose: " + ", ".join(f"kiti-table {paper}/claims" for paper in papers) + ", kiti-table coverage"
        )
    return ExitStatus.FINISHED


def _show_tables(options: argparse.Namespace) -> ExitStatus:
    from rich.console import Console

    from kiti.launching.launch import default_jobs, launch, missing_runs
    from kiti.report.publishing import outputs, publish, write
    from kiti.report.table_runs import Archive, runs_dir
    from kiti.report.tables import build

    plans = [_Planned.of(name, options) for name in _names(options)]
    status = ExitStatus.FINISHED
    if options.dry_run:
        for run in missing_runs(*(one.plan for one in plans)):
            print(shlex.join(["python", *run.command]))
        return status
    if options.run:
        errors = Console(stderr=True)
        missing = missing_runs(*(one.plan for one in plans))
        launched = launch(missing, options.jobs or default_jobs(len(missing)), errors)
        status = _report(launched, errors)
        if launched.signal:
            return status
    archives = {paper: Archive.of_paper(paper) for paper in {one.paper for one in plans}}
    if options.run:  # of this call or an earlier one
        for run_dir, where in sorted({found for one in plans for found in one.diverged(archives[one.paper])}):
            print(f"diverged: {run_dir}{where}", file=sys.stderr)
            status = gravest([status, ExitStatus.DIVERGED])
    tables = [build(one.name, one.spec, one.scale, one.plan, archives[one.paper]) for one in plans]
    if options.publish:
        for root in dict.fromkeys(one.root for one in plans):
            mine = [(one.sheet, table) for one, table in zip(plans, tables, strict=True) if one.root == root]
            publish(mine, root)
    elif options.run:
        selected = "".join(f".{problem}" for problem in options.only or [])
        selected += "".join("." + re.sub(r"[^\w.=,+]+", "-", override) for override in _overrides(options))
        for one, table in zip(plans, tables, strict=True):
            stem = runs_dir(one.plan) / "tables" / f"{one.name}.{one.scale}{selected}"
            print(*write(outputs(one.sheet, table), stem), sep="\n", file=sys.stderr)
    for number, table in enumerate(tables):
        if number:
            print()
        _print(table, options.format, options.wide)
    return status


_TFLOPS = 50.0


@dataclass(frozen=True)
class _Planned:
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
    def of(cls, name: str, options: argparse.Namespace) -> "_Planned":
        from kiti.report import sheets, sweeps
        from kiti.report.table_runs import plan

        root = _root(name, options)
        sheet: sheets.Sheet
        if sweeps.is_sweep(name):
            if isinstance(options.seeds, str):
                raise sheets.SheetError(f"{name}: --seeds {options.seeds}: a sweep has no pilot; give a number")
            sheet, scale = sweeps.sheet(name, options.scale, options.seeds, options.only or (), _overrides(options))
            spec = sheet.table(scale)
        else:
            if isinstance(options.seeds, int) or _overrides(options):
                raise sheets.SheetError(f"{name}: a number of seeds and overrides are for sweeps; its YAML has its own")
            sheet = sheets.load(name, root)
            scale = options.scale or sheets.default_scale(sheet)
            spec = sheet.table(scale)
            spec = spec.only(options.only) if options.only else spec
            spec = spec.pilot() if options.seeds == "pilot" else spec
        sheets.scale_of(sheet, name, scale)
        return cls(name, root, sheet, spec, scale, plan(spec, scale, any_commit=options.plan))


def _show_costs(options: argparse.Namespace) -> ExitStatus:
    from rich.console import Console

    from kiti.planning.cost_table import CostTable
    from kiti.planning.kept_steps import KeptSteps
    from kiti.planning.row_costs import Planned, table_costs
    from kiti.planning.seed_table import seed_grid
    from kiti.planning.step_processes import StepProcesses
    from kiti.report import formats
    from kiti.report.table_runs import Archive
    from kiti.report.tables import build

    processes = StepProcesses()
    names = _names(options)
    kept = {root: KeptSteps.of(root) for root in {_root(name, options) for name in names}}
    if options.devices > 1 or any(name not in kept[_root(name, options)].sheets for name in names):
        processes.start()  # importing torch takes as long as reading the sheets
    plans = [_Planned.of(name, options) for name in names]
    archives = {paper: Archive.of_paper(paper) for paper in {one.paper for one in plans}}
    tables = [Planned(one.spec, one.scale, one.plan, archives[one.paper], kept[one.root]) for one in plans]
    costs = table_costs(tables, processes, options.devices)

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
    elif style == "md" and wide:
        sys.stdout.write(formats.markdown(full_grid(table)))
    else:
        sys.stdout.write(outputs(table)[style].decode())


def _rebuild(options: argparse.Namespace) -> ExitStatus:
    from kiti.report import sheets
    from kiti.report.claims import written
    from kiti.report.publishing import rebuild

    roots = _roots(options)
    pages = {name: root for root in reversed(roots) for name in written.names(root)}
    names = options.names or [*(name for root in roots for name in sheets.names(root)), *pages]
    by_root: dict[Path, list[str]] = {}
    for name in names:
        by_root.setdefault(pages[name] if name in pages else _root(name, options), []).append(name)
    for root, wanted in by_root.items():
        for path in rebuild(root, options.into or root, wanted):
            print(path)
    return ExitStatus.FINISHED


if __name__ == "__main__":
    main()
