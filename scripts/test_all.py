"""Run parts of the checks one after another, and say how long each took.

    python scripts/test_all.py lint types quick
    python scripts/test_all.py lint types quick slow slurm --write tests/last_run.md

A part that fails does not end the others; the exit status is then 1. With --write, a summary is written, to be
committed: the commit, the machine, the versions, and each part's outcome and time.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kiti.storage.records import git_state, package_versions, write_whole

ROOT = Path(__file__).parents[1]
PYTEST = ("pytest", "-q", "-n", "2", "--durations=15")
PARTS: dict[str, list[tuple[str, ...]]] = {
    "lint": [("ruff", "check"), ("ruff", "format", "--check")],
    "types": [("mypy",)],
    "quick": [(*PYTEST, "-m", "not slow and not slurm")],
    "slow": [(*PYTEST, "-m", "slow and not slurm")],
    "slurm": [("pytest", "-q", "-m", "slurm", "tests/slurm")],
}


@dataclass(frozen=True)
class Outcome:
    """One part: whether it `passed`, its last lines that name failures, and its last line."""

    part: str
    passed: bool
    seconds: float
    failures: list[str]
    summary: str


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a summary in Markdown")
    options = parser.parse_args(arguments)
    code = git_state(ROOT)
    outcomes = [run(part) for part in options.parts]
    for outcome in outcomes:
        print(f"{outcome.part}: {'passed' if outcome.passed else 'FAILED'} in {outcome.seconds:.0f} s")
    if options.write:
        commit = code.commit[:12] + (" with local changes" if code.dirty else "")
        write_whole(options.write, markdown(outcomes, commit).encode())
    sys.exit(not all(outcome.passed for outcome in outcomes))


def run(part: str) -> Outcome:
    """Run a part's commands, with their output shown as it comes."""
    begun, passed, lines = time.monotonic(), True, list[str]()
    for command in PARTS[part]:
        with subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line.strip())
        passed = passed and process.returncode == 0
    failures = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return Outcome(part, passed, time.monotonic() - begun, failures, next(filter(None, reversed(lines)), ""))


def markdown(outcomes: Sequence[Outcome], commit: str) -> str:
    versions = package_versions(["torch", "torchvision", "pytorch-lightning", "transformers", "timm", "numpy"])
    lines = [
        "# The last run of `make test-all`",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {platform.system()} {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        "| part | outcome | seconds | last line |",
        "|---|---|---|---|",
    ]
    for one in outcomes:
        lines.append(f"| {one.part} | {'passed' if one.passed else 'failed'} | {one.seconds:.0f} | {one.summary} |")
    failures = [f"- {line}" for one in outcomes for line in one.failures]
    return "\n".join([*lines, *(["", "Failures:", "", *failures] if failures else [])]) + "\n"


if __name__ == "__main__":
    main()
