"""Shared by the benchmarks: options, marks and records.

A benchmark measures a list of cases, judges marks on them and writes one JSON record, from which its Markdown table is
generated: no number of a table is typed by hand.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from rich.console import Console
from rich.progress import track

from kiti.report.formats import NOTHING, Grid, markdown, show
from kiti.report.provenance import PACKAGES
from kiti.report.provenance import provenance as provenance
from kiti.storage.records import git_state, package_versions, write_whole
from kiti.training.device import device_name

Case = TypeVar("Case")
State = Literal["reached", "not reached", "not measured"]

SCHEMA = 1
_ROOT = Path(__file__).parents[1]


class Unusable(ValueError):
    """The request cannot be measured or read; the message says why in one line."""


@dataclass(frozen=True)
class Mark:
    """A target and whether it was reached."""

    mark: str
    state: State
    detail: str


def judge(
    mark: str,
    values: Iterable[tuple[str, float | None]],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
) -> Mark:
    """Compare the values of named cases with one bound; the worst case decides, None means not measured."""
    measured = [(value, name) for name, value in values if value is not None]
    if not measured:
        return Mark(mark, "not measured", NOTHING)
    if at_least is not None:
        worst, reaching = min(measured), [value >= at_least for value, _ in measured]
    elif at_most is not None:
        worst, reaching = max(measured), [value <= at_most for value, _ in measured]
    else:
        raise ValueError("judge needs at_least or at_most")
    detail = f"worst {worst[0]:.3g}{unit}: {worst[1]}; {sum(reaching)} of {len(reaching)} cases reach it"
    return Mark(mark, "reached" if all(reaching) else "not reached", detail)


def marks_grid(marks: Sequence[Mapping[str, str]]) -> Grid:
    return Grid("Marks", ["mark", "state", "detail"], [[m["mark"], m["state"], m["detail"]] for m in marks], [])


def parser(description: str | None, select: str = "--only") -> argparse.ArgumentParser:
    """The options of every benchmark; `select` is the name of the option that selects cases."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", type=_device, default=torch.device("cpu"), help="cpu (default) or cuda")
    made.add_argument("--threads", type=_count, default=torch.get_num_threads())
    made.add_argument("--repeats", type=_count, default=7, help="most rounds of a case; slow cases have fewer")
    made.add_argument(
        select, dest="only", type=_pattern, default="", metavar="REGEX", help="measure the cases whose names match"
    )
    made.add_argument("--quick", action="store_true", help="a few tiny cases, as a test")
    made.add_argument("--json", type=Path, metavar="PATH", help="write the record here")
    made.add_argument("--markdown", type=Path, metavar="PATH", help="write the table here")
    made.add_argument("--from-json", type=Path, metavar="PATH", help="do not measure: report this record")
    return made


def _device(text: str) -> torch.device:
    if text.split(":")[0] not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be cpu or cuda")
    if text != "cpu" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError(f"{text!r}: no CUDA GPU is available; use cpu")
    return torch.device(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a positive integer")
    return int(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None
    return text


def selected(cases: Iterable[Case], name: Callable[[Case], str], args: argparse.Namespace) -> list[Case]:
    """The cases whose names match. Raises Unusable if none does."""
    cases = list(cases)
    matching = [case for case in cases if re.search(args.only, name(case))]
    if not matching:
        raise Unusable(f"{args.only!r} matches no case; there are {name(cases[0])!r} … {name(cases[-1])!r}")
    return matching


def progress(cases: Sequence[Case], what: str) -> Iterable[Case]:
    """The cases one by one, with a progress bar on a terminal."""
    console = Console(stderr=True)
    return track(cases, description=what, console=console, disable=not console.is_terminal)


def record(
    benchmark: str,
    args: argparse.Namespace,
    started: float,
    settings: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    marks: Sequence[Mark],
) -> dict[str, Any]:
    """All measurements and their environment; `started` is time.time() at the start."""
    git = git_state(_ROOT)
    return {
        "benchmark": benchmark,
        "schema": SCHEMA,
        "device": args.device.type,
        "device_name": device_name(args.device),
        "threads": torch.get_num_threads(),
        "versions": package_versions(PACKAGES),
        "git": {"commit": git.commit, "dirty": git.dirty},
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "wall_seconds": time.time() - started,
        "settings": {"repeats": args.repeats, "only": args.only, "quick": args.quick, **settings},
        "cases": list(cases),
        "marks": [asdict(mark) for mark in marks],
    }


def gather(
    benchmark: str,
    args: argparse.Namespace,
    started: float,
    settings: Mapping[str, Any],
    cases: Iterable[Mapping[str, Any]],
    judged: Callable[[list[Mapping[str, Any]]], Sequence[Mark]],
) -> dict[str, Any]:
    """`record`, for cases that are measured one by one during iteration.

    After each case, the record so far is written to --json, marked as incomplete: if cut off, only one case is lost.
    """
    empty = record(benchmark, args, started, settings, [], [])  # queries git only once
    measured: list[Mapping[str, Any]] = []

    def so_far(complete: bool) -> dict[str, Any]:
        marks = [asdict(mark) for mark in judged(measured)]
        seconds = time.time() - started
        return {**empty, "complete": complete, "wall_seconds": seconds, "cases": [*measured], "marks": marks}

    for case in cases:
        measured.append(case)
        if args.json:
            _write(args.json, so_far(complete=False))
    return so_far(complete=True)


def run(
    args: argparse.Namespace,
    benchmark: str,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    grid: Callable[[dict[str, Any]], Grid],
) -> None:
    """Measure, or read a record, and report it; Unusable is reported in one line, with status 2."""
    try:
        if args.from_json:
            record = read(args.from_json, benchmark)
        else:
            torch.set_num_threads(args.threads)
            record = measure(args)
    except Unusable as error:
        print(f"benchmark_{benchmark}: {error}", file=sys.stderr)
        sys.exit(2)
    report(record, [grid(record)], args)


def read(path: Path, benchmark: str) -> dict[str, Any]:
    """An existing record, complete or not. Raises Unusable if missing, or of another benchmark or schema."""
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except ValueError:  # not JSON, or not text
        found = None
    if not isinstance(found, dict) or (found.get("benchmark"), found.get("schema")) != (benchmark, SCHEMA):
        raise Unusable(f"{path} has no record of benchmark {benchmark!r}, schema {SCHEMA}")
    return found


def report(record: Mapping[str, Any], grids: Sequence[Grid], args: argparse.Namespace) -> None:
    """Print the tables and marks, and write the requested files."""
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file has no width limit
    for grid in grids:
        show(grid, console)
    for mark in record["marks"]:
        console.print(f"{mark['state']:12}  {mark['mark']} ({mark['detail']})", highlight=False, markup=False)
    if args.json and not args.from_json:
        _write(args.json, record)
    if args.markdown:
        tables = [*grids, marks_grid(record["marks"])] if record["marks"] else grids
        first, *others = (markdown(grid) for grid in tables)
        text = "\n".join([first, *(f"#{other}" for other in others)])  # only one first-level heading
        write_whole(args.markdown, (text.rstrip("\n") + "\n").encode())


def _write(path: Path, record: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def milliseconds(seconds: float) -> str:
    """`0.0123`, `1.23`, `123`, `12345`."""
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def timing_text(summary: Mapping[str, Any]) -> str:
    """Median and range in milliseconds: `12.3 (12.1…13.0)`."""
    low, high = milliseconds(summary["min_s"]), milliseconds(summary["max_s"])
    return f"{milliseconds(summary['median_s'])} ({low}…{high})"


def mib_text(held: float | None) -> str:
    """Bytes as MiB, or "not measured"."""
    return "not measured" if held is None else f"{held / 2**20:.3g}"
