"""`kiti-table kitinet/table4`: what the records say of a table or a figure; --run makes the runs it lacks.

kiti-table kitinet/table4                    read the records there are, print the table
kiti-table kitinet/table4 --run --jobs 2     first make the missing runs; call again to go on where it stopped
kiti-table kitinet/table4 --only Burgers     of its problems this one, or several
kiti-table kitinet/table4 kitinet/table6     several, whose missing runs are made together
kiti-table kitinet/table4 --publish          put this machine's records and the table beside its YAML
kiti-table --rebuild                         rewrite every committed table and figure from committed records
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where used: --help answers at once
    from rich.console import Console

    from kiti.launching.launch import Launch
    from kiti.report.sheets import Sheet, TableSpec
    from kiti.report.table_runs import Plan
    from kiti.report.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits 0, 1 when runs did not finish, 2 on a mistake, 128 + n ended by signal n."""
    options = _parser().parse_args(arguments)
    if arguments is None and not options.run:
        gc.disable()  # a process that reads and leaves: collecting its many small nodes takes a tenth of the time
    from kiti.configuration.config import ConfigError
    from kiti.report.sheets import SheetError
    from kiti.storage.records import RecordError

    try:
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
        help="default: laptop; paper for what a laptop does at that scale",
    )
    parser.add_argument("--only", nargs="+", metavar="PROBLEM", help="show, and run, these problems' rows")
    parser.add_argument("--run", action="store_true", help="make the runs this machine lacks, then write the outputs")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="runs at a time; default: one a core, one on a GPU")
    parser.add_argument("--format", choices=("md", "csv", "tex"), default="md", help="what to print; default: md")
    parser.add_argument(
        "--publish", action="store_true", help="put records and outputs beside the YAML, to be committed"
    )
    parser.add_argument("--rebuild", action="store_true", help="rewrite committed outputs (of NAMEs, or all)")
    parser.add_argument("--into", type=Path, metavar="DIR", help="with --rebuild: write below DIR instead of in place")
    parser.add_argument(
        "--experiments", type=Path, metavar="DIR", help="where the YAMLs are; default: the repository's"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


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
    """Say which runs did not finish; the exit status."""
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
        sheets.load(name, experiments)  # an unknown NAME is a mistake, not an empty task
    for path in rebuild(experiments, options.into or experiments, options.names):
        print(path)
    return 0


if __name__ == "__main__":
    main()
