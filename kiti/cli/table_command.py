"""Print a table or figure from the records; --run first trains the missing runs.

kiti-table kitinet/table4                    read the existing records, print the table
kiti-table kitinet/table4 --run --jobs 2     first train the missing runs; call again to resume
kiti-table kitinet/table4 --only Burgers     only these of its problems
kiti-table kitinet/table4 kitinet/table6     several tables, whose missing runs are trained together
kiti-table kitinet/table4 --publish          copy the local records and the table next to its YAML
kiti-table --rebuild                         rewrite every committed table and figure from committed records
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where used, so that --help is fast
    from rich.console import Console

    from kiti.launching.launch import Launch
    from kiti.report.sheets import Sheet, TableSpec
    from kiti.report.table_runs import Plan
    from kiti.report.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits 0, 1 when runs did not finish, 2 on invalid input, 128 + n after signal n."""
    options = _parser().parse_args(arguments)
    if arguments is None and not options.run:
        gc.disable()  # saves a tenth of the time of a short process with many small objects
    from kiti.configuration.config import ConfigError
    from kiti.report.sheets import SheetError
    from kiti.storage.records import RecordError

    try:
        _check_destination(options)
        status = _rebuild(options) if options.rebuild else _show_tables(options)
    except (ConfigError, RecordError, SheetError) as error:
        print(f"kiti-table: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kiti-table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="tables or figures as <paper>/<name>: kitinet/table4")
    parser.add_argument(
        "--scale",
        choices=("paper", "laptop", "smoke"),
        help="default: laptop, or paper for tables without that scale",
    )
    parser.add_argument("--only", nargs="+", metavar="PROBLEM", help="only the rows of these problems")
    parser.add_argument(
        "--run", action="store_true", help="train the runs without a local record, then write the outputs"
    )
    parser.add_argument(
        "--jobs", type=_positive, metavar="N", help="runs at a time; default: one per core, one on a GPU"
    )
    parser.add_argument("--format", choices=("md", "csv", "tex"), default="md", help="what to print; default: md")
    parser.add_argument(
        "--publish", action="store_true", help="copy records and outputs next to the YAML, to be committed"
    )
    parser.add_argument("--rebuild", action="store_true", help="rewrite committed outputs (of NAMEs, or all)")
    parser.add_argument("--into", type=Path, metavar="DIR", help="with --rebuild: write below DIR instead of in place")
    parser.add_argument("--experiments", type=Path, metavar="DIR", help="where the YAMLs are; default: kiti's own")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _check_destination(options: argparse.Namespace) -> None:
    """SheetError, before anything is run, where outputs would go into an installed package."""
    from kiti.configuration.locations import CHECKOUT
    from kiti.report.sheets import SheetError

    if CHECKOUT or options.experiments:
        return
    if options.rebuild and not options.into:
        raise SheetError("--rebuild would write into the installed package; give --into or --experiments")
    if options.publish and not options.rebuild:
        raise SheetError("--publish would write into the installed package; give --experiments")


def _show_tables(options: argparse.Namespace) -> int:
    from rich.console import Console

    from kiti.launching.launch import default_jobs, launch, missing_runs
    from kiti.report import sheets
    from kiti.report.publishing import outputs, publish, write
    from kiti.report.table_runs import Archive, runs_dir
    from kiti.report.tables import build

    experiments = options.experiments or sheets.EXPERIMENTS
    if not options.names:
        raise sheets.SheetError(f"give a NAME; there are: {', '.join(sheets.names(experiments)) or 'none'}")
    plans = [_Planned.of(name, options, experiments) for name in dict.fromkeys(options.names)]
    status = 0
    if options.run:
        errors = Console(stderr=True)
        missing = missing_runs(*((one.plan, one.seeds) for one in plans))
        launched = launch(missing, options.jobs or default_jobs(len(missing)), errors)
        status = _report(launched, errors)
        if launched.signal:
            return status
    archives = {paper: Archive.of_paper(paper) for paper in {(experiments / one.name).parent for one in plans}}
    tables = [
        build(one.name, one.spec, one.scale, one.plan, archives[(experiments / one.name).parent]) for one in plans
    ]
    if options.publish:
        publish([(one.sheet, table) for one, table in zip(plans, tables, strict=True)], experiments)
    elif options.run:
        selected = "".join(f".{problem}" for problem in options.only or [])
        for one, table in zip(plans, tables, strict=True):
            stem = runs_dir(one.plan) / "tables" / f"{one.name}.{one.scale}{selected}"
            write(outputs(one.sheet, table), stem)
    for number, table in enumerate(tables):
        if number:
            print()
        _print(table, options.format)
    return status


@dataclass(frozen=True)
class _Planned:
    """A table or figure with the configurations of its rows."""

    name: str
    sheet: "Sheet"
    spec: "TableSpec"
    scale: str
    plan: "Plan"
    seeds: Sequence[int]

    @classmethod
    def of(cls, name: str, options: argparse.Namespace, experiments: Path) -> "_Planned":
        from kiti.report import sheets
        from kiti.report.table_runs import plan

        sheet = sheets.load(name, experiments)
        scale = options.scale or sheets.default_scale(sheet)
        seeds = sheets.scale_of(sheet, name, scale).seeds
        spec = sheet.table(scale)
        spec = spec.only(options.only) if options.only else spec
        return cls(name, sheet, spec, scale, plan(spec, scale), seeds)


def _report(launched: "Launch", console: "Console") -> int:
    """Print which runs did not finish and return the exit status."""
    for outcome in launched.unfinished:
        line = f"{outcome.state}: {outcome.run.name}: {outcome.reason} (log: {outcome.run.log})"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if launched.signal:
        return 128 + launched.signal
    return 1 if launched.unfinished else 0


def _print(table: "Table", style: str) -> None:
    from rich.console import Console

    from kiti.report import formats
    from kiti.report.tables import grid, outputs

    console = Console()
    if style == "md" and console.is_terminal:
        formats.show(grid(table), console)
    else:
        sys.stdout.write(outputs(table)[style].decode())


def _rebuild(options: argparse.Namespace) -> int:
    from kiti.report import sheets
    from kiti.report.publishing import rebuild

    experiments = options.experiments or sheets.EXPERIMENTS
    for name in options.names:
        sheets.load(name, experiments)  # an unknown name is an error
    for path in rebuild(experiments, options.into or experiments, options.names):
        print(path)
    return 0


if __name__ == "__main__":
    main()
