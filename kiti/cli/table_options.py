"""The options of kiti-table."""

import argparse
import re
from pathlib import Path

_TFLOPS = 50.0


def parser(description: str) -> argparse.ArgumentParser:
    """The parser; `description` stands above the options in --help."""
    found = argparse.ArgumentParser(
        "kiti-table", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="tables or figures as <paper>/<name>: kitinet/table4; with a sweep, overrides as well: model.depth=50",
    )
    found.add_argument(
        "--scale",
        choices=("paper", "laptop", "smoke"),
        help="default: laptop, or paper for tables without that scale",
    )
    found.add_argument(
        "--only", nargs="+", metavar="PROBLEM", help="only the rows of these problems; kiti, soft or hard in a sweep"
    )
    found.add_argument(
        "--run", action="store_true", help="train the runs without a local record, then write the outputs"
    )
    found.add_argument("--plan", action="store_true", help="print what the runs will cost; starts and writes nothing")
    found.add_argument(
        "--tflops",
        type=_positive_number,
        default=_TFLOPS,
        metavar="X",
        help="with --plan: 10^12 operations that a device does a second; default: %(default)g, a sixth of the 312 that "
        "an A100 can do at most in bfloat16",
    )
    found.add_argument(
        "--devices", type=_positive, default=1, metavar="N", help="with --plan: devices that share a batch; default: 1"
    )
    found.add_argument(
        "--jobs", type=_positive, metavar="N", help="runs at a time; default: one per GPU, or per core without GPUs"
    )
    found.add_argument("--dry-run", action="store_true", help="only print the commands of the runs that --run starts")
    found.add_argument(
        "--seeds",
        type=_seeds,
        metavar="N|planned|pilot",
        help="of a sweep: the number of seeds, from 0, default 3; of a table: those on which its result rests, or "
        "those of the pilot before, default planned",
    )
    found.add_argument(
        "--wide", action="store_true", help="print every row, metric and baseline, not only what decides"
    )
    found.add_argument("--format", choices=("md", "csv", "tex"), default="md", help="what to print; default: md")
    found.add_argument(
        "--publish", action="store_true", help="copy records and outputs next to the YAML, to be committed"
    )
    found.add_argument(
        "--replicate",
        type=_name,
        metavar="NAME",
        help="repeat the runs under a name, on another processor for example, beside the committed ones: with --run, "
        "--publish, or to print them",
    )
    found.add_argument("--rebuild", action="store_true", help="rewrite committed outputs (of NAMEs, or all)")
    found.add_argument("--into", type=Path, metavar="DIR", help="with --rebuild: write below DIR instead of in place")
    found.add_argument(
        "--experiments", type=Path, metavar="DIR", help="where the YAMLs are; default: kiti's own and the plug-ins'"
    )
    found.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="PATH",
        help="a Python file or package outside kiti; repeatable",
    )
    return found


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} may have letters, digits and . _ + - only")
    return text


def _seeds(text: str) -> int | str:
    return text if text in ("planned", "pilot") else _positive(text)


def _positive_number(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number
