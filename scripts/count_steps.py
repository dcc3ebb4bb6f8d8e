"""Count what a step of every sheet's runs costs, for kiti-table --plan: docs/what-it-costs.md.

python scripts/count_steps.py              # writes experiments/steps.json
python scripts/count_steps.py --check      # counts again and compares; exits with 1 if something differs
python scripts/count_steps.py --check kitinet/table4 --experiments experiments
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from kiti.configuration.compose import Composed
from kiti.configuration.explain import ConfigError
from kiti.planning.costs import Step
from kiti.planning.kept_steps import FILE_NAME, KeptSteps, digest, plain
from kiti.planning.meta_step import Steps
from kiti.planning.row_costs import why_unknown
from kiti.report import sheets
from kiti.report.table_runs import TableRun, plan
from kiti.storage.records import write_whole


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="sheets to check; default: all")
    parser.add_argument("--check", action="store_true", help="compare with what is kept; write nothing")
    parser.add_argument(
        "--experiments", type=Path, default=sheets.EXPERIMENTS, metavar="DIR", help="where the YAMLs are"
    )
    args = parser.parse_args(arguments)
    if args.names and not args.check:
        parser.error("names are for --check; the file is written for all sheets")
    names = args.names or sheets.names(args.experiments)
    found = count(configurations(names, args.experiments))
    if not args.check:
        kept = KeptSteps(found, frozenset(names), torch.__version__.partition("+")[0])
        write_whole(args.experiments / FILE_NAME, kept.text().encode())
        print(f"{args.experiments / FILE_NAME}: {len(found)} kinds of steps of {len(names)} sheets")
        return
    differing = differences(KeptSteps.of(args.experiments), names, found)
    print("\n".join(differing) or f"{len(found)} kinds of steps of {len(names)} sheets are as they are kept")
    sys.exit(bool(differing))


def configurations(names: Iterable[str], experiments: Path) -> list[Composed]:
    """Those of all sheets at all scales whose steps can be counted."""
    found = []
    for name in names:
        sheet = sheets.load(name, experiments)
        for scale in sheet.scales:
            for run in plan(sheet.table(scale), scale, any_commit=True).values():
                if isinstance(run, TableRun) and not why_unknown(run.composed, devices=1):
                    found.append(run.composed)
    return found


def count(composed: Iterable[Composed]) -> dict[str, Step | ConfigError]:
    """The steps by digest, or why there is none."""
    steps = Steps()
    found: dict[str, Step | ConfigError] = {}
    for one in composed:
        if (key := digest(one)) not in found:
            try:
                found[key] = steps.of(one)
            except ConfigError as error:
                found[key] = error
    return found


def differences(kept: KeptSteps, names: Iterable[str], found: dict[str, Step | ConfigError]) -> list[str]:
    """A line for each sheet that is not kept, and for each step that is not, or has another cost."""
    lines = [f"{name}: no step is kept" for name in names if name not in kept.sheets]
    for key, step in found.items():
        if key not in kept.steps:
            lines.append(f"{key}: not kept")
        elif plain(step) != (was := plain(kept.steps[key])):
            lines.append(f"{key}: {plain(step)}, was {was} with torch {kept.torch}")
    return lines


if __name__ == "__main__":
    main()
