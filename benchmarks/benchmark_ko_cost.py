"""KO's Tables 4 and 5: run time and memory with collisions of the classifier's gradients, as ratios to none.

    python -m benchmarks.benchmark_ko_cost --json experiments/benchmarks/ko_cost.cpu.json \\
        --markdown experiments/benchmarks/ko_cost.cpu.md

Seconds and megabytes of different machines are not comparable, so only ratios are compared: those measured here and
those of the printed numbers, in experiments/ko/printed/cost.yaml. All steps of a network are timed in turns, as in
benchmark_step.py. The batch is the paper's 128 on a GPU, 32 on a CPU.
"""

import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import benchmarking
from benchmarks.benchmark_models import Builder, resnet
from benchmarks.benchmark_step import HARD, SOFT, measure_workload
from kiti.report.formats import NOTHING, Grid

PRINTED = Path(__file__).parents[1] / "experiments" / "ko" / "printed" / "cost.yaml"
NETWORKS: dict[str, tuple[int, int, Builder]] = {
    f"ResNet-{depth}, {classes} classes": (depth, classes, resnet(depth, cpu_batch=32, classes=classes, heads=()))
    for classes in (10, 100)
    for depth in (18, 34, 50)
}
MODES = {"add": "none", "soft": "soft", "hard": "hard"}


def main(arguments: Sequence[str] | None = None) -> None:
    args = benchmarking.parser(__doc__).parse_args(arguments)
    benchmarking.run(args, "ko_cost", measure, grid)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    args.size = "quick" if args.quick else "paper" if args.device.type == "cuda" else "cpu"
    args.case_seconds, args.heads, args.coll_coef = 90.0, None, None
    names = benchmarking.selected(NETWORKS, str, args)
    cases = [
        {"classes": NETWORKS[name][1], "depth": NETWORKS[name][0], **measure_workload(name, NETWORKS[name][2], args)}
        for name in benchmarking.progress(names, "networks")
    ]
    settings = {"size": args.size, "soft": SOFT, "hard": HARD}
    return benchmarking.record("ko_cost", args, started, settings, cases, [])


def grid(record: dict[str, Any]) -> Grid:
    """A line for each network and collision; the paper's ratios are computed from its printed numbers."""
    printed = yaml.safe_load(PRINTED.read_text())
    header = ["network", "collision", "run time", "printed: run time", "peak memory", "printed: memory"]
    lines = []
    for case in record["cases"]:
        theirs = printed[case["classes"]][case["depth"]]
        held = case["held_bytes"]
        vanilla = case["variants"][0]["peak_bytes"]
        for row in case["variants"][1:]:
            mode = MODES[row["variant"]]
            seconds, memory = (float(a) / float(b) for a, b in zip(theirs[mode], theirs["none"], strict=True))
            known = vanilla is not None and row["peak_bytes"] is not None
            peak = f"{(held + row['peak_bytes']) / (held + vanilla):.4f}" if known else NOTHING
            longer = [1 + row[key] for key in ("longer", "longer_lowest", "longer_highest")]
            time_ratio = "{:.3f} ({:.3f}…{:.3f})".format(*longer)
            lines.append([case["case"], mode, time_ratio, f"{seconds:.3f}", peak, f"{memory:.4f}"])
    batch = record["cases"][0]["batch"].split()[0]
    notes = [
        "All are ratios to the same network without collisions. Ours: of one step, median over median (least…most "
        "within a round), and of weights, momentum and what a step adds at its peak; printed: of a whole training of "
        "200 epochs on a GPU, and of memory in MB.",
        f"Ours is a batch of {batch}, the paper's one of 128; a collision takes the same time whatever the batch, so "
        "that its share shrinks with the step's length. CIFAR stem, float32 on a CPU.",
        f"soft coll_coef {SOFT}/N, hard {HARD}.",
        "For ResNet-50 and 100 classes 11576 MB are printed without collisions and with hard ones, 5176 MB with soft "
        "ones, which is the number of 10 classes (A29).",
        benchmarking.provenance(record),
    ]
    title = f"What KO costs, beside the ratios of its Tables 4 and 5, {record['device']}"
    return Grid(title, header, lines, notes)


if __name__ == "__main__":
    main()
