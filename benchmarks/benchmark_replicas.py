"""Seeds trained side by side by one process, against one process per seed: seconds per seed, including start-up.

    python -m benchmarks.benchmark_replicas --json experiments/benchmarks/replicas.cpu.json \\
        --markdown experiments/benchmarks/replicas.cpu.md

Both are run as user commands, in a temporary folder.
"""

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks import benchmarking, measuring
from benchmarks.benchmarking import Mark, Unusable, judge
from kiti.report.formats import Grid, plain

CASES = {
    "three layers, residual=add": ["experiment=condensation_fc"],
    "three layers, residual=kiti": ["experiment=condensation_fc", "residual=kiti"],
    "six layers, residual=kiti": ["experiment=condensation_skip", "residual=kiti", "model.seams=2"],
    "two layers, collision=hard": ["experiment=condensation_ko", "collision=hard"],
}
FASTER = 10


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(parse(arguments), "replicas", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--replicas", type=int, default=100, help="seeds side by side; default: 100")
    return parser.parse_args(arguments)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    scale = "smoke" if args.quick else "paper"
    names = benchmarking.selected(CASES, str, args)
    cases = [measure_case(name, args, scale) for name in benchmarking.progress(names, "seeds")]
    faster = [(case["case"], case["times_as_fast"]) for case in cases]
    marks: list[Mark] = [judge(f"at least {FASTER}x the seeds a second", faster, at_least=FASTER, unit="x")]
    return benchmarking.record("replicas", args, started, {"scale": scale, "replicas": args.replicas}, cases, marks)


def measure_case(name: str, args: Namespace, scale: str) -> dict[str, Any]:
    common = [sys.executable, "-m", "kiti.train", *CASES[name], f"scale={scale}", "resume=never"]
    if scale == "smoke":
        common.append("data.batch_size=16")  # all points, as required for training seeds side by side
    with tempfile.TemporaryDirectory() as folder:
        place = [f"runs_dir={folder}/runs", f"data_dir={folder}/data"]
        calls = {
            "alone": partial(run, [*common, *place]),
            "together": partial(run, [*common, *place, f"replicas={args.replicas}"]),
        }
        timings = measuring.interleaved(calls, args.device, rounds=args.repeats, least=args.repeats, budget=0, most=1)
    ratio = measuring.ratio(timings["alone"], timings["together"])
    return {
        "case": name,
        "alone": timings["alone"].summary(),
        "together": timings["together"].summary(),
        "times_as_fast": ratio.ratio * args.replicas,
        "lowest": ratio.lowest * args.replicas,
        "highest": ratio.highest * args.replicas,
    }


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unusable(f"{' '.join(command)}: {(done.stderr.strip() or 'no output').splitlines()[-1]}")


def grid(record: dict[str, Any]) -> Grid:
    """A line for each network."""
    replicas = record["settings"]["replicas"]
    header = ["network", "one seed, s", f"{replicas} seeds side by side, s", "seeds a second, together over alone"]
    lines = [
        [
            case["case"],
            span(case["alone"]),
            span(case["together"]),
            f"{plain(case['times_as_fast'], 3)} ({plain(case['lowest'], 3)}…{plain(case['highest'], 3)})",
        ]
        for case in record["cases"]
    ]
    notes = [
        "whole commands of kiti-train, start-up and records included; median (least…most) of interleaved runs",
        f"scale {record['settings']['scale']}: 80 points, 100 epochs"
        if record["settings"]["scale"] == "paper"
        else "cut down to a test of this script",
        benchmarking.provenance(record),
    ]
    return Grid("Seeds side by side against one process a seed", header, lines, notes)


def span(summary: dict[str, float]) -> str:
    return f"{plain(summary['median_s'], 3)} ({plain(summary['min_s'], 3)}…{plain(summary['max_s'], 3)})"


if __name__ == "__main__":
    main()
