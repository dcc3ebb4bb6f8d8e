"""Which threads should run the compiled collision in a training step: torch's, a Python pool's, or numba's own?

    python -m benchmarks.benchmark_threads --json experiments/benchmarks/threads.cpu.json \\
        --markdown experiments/benchmarks/threads.cpu.md

The steps are those of benchmark_step with the seam; the loops and their shares of the work are always the same, only
the threads that call them differ.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, no_type_check
from unittest.mock import patch

import numba
import numpy as np
import torch
from torch.optim import SGD

from benchmarks import benchmarking, measuring
from benchmarks.benchmark_models import MODELS, Builder, chain
from benchmarks.benchmark_step import Seam, kiti_variants
from benchmarks.benchmarking import Mark, Unusable, judge, timing_text
from kiti.collision.cpu import numba_backend, numba_loops, numba_threads
from kiti.report.formats import NOTHING, Grid, percent

CASES: dict[str, tuple[Builder, int]] = {
    "six layers, 5 heads": (chain, 5),
    "fno1d, 8 heads": (MODELS["fno1d"], 8),
    "fno1d, 32 heads": (MODELS["fno1d"], 32),
    "bert-base, 8 heads": (MODELS["bert-base"], 8),
}
_forward, _backward = numba_loops.forward, numba_loops.backward
_parallel = numba.njit(parallel=True, nogil=True, error_model="numpy")


@no_type_check
@_parallel
def forward(x, v, heads, physics, mutual, seed, given, own, v_max, whole, out, k, kept, energy, begins, ends):
    for p in numba.prange(len(begins)):
        _forward(x, v, heads, physics, mutual, seed, given, own, v_max, whole, out, k, kept, energy, begins[p], ends[p])


@no_type_check
@_parallel
def backward(grad, x, v, heads, physics, seed, given, v_max, k, kept, grad_x, grad_v, begins, ends):
    for p in numba.prange(len(begins)):
        _backward(grad, x, v, heads, physics, seed, given, v_max, k, kept, grad_x, grad_v, begins[p], ends[p])


_PARALLEL: dict[Callable[..., None], Callable[..., None]] = {_forward: forward, _backward: backward}


def by_numba(function: Callable[..., None], calls: Iterable[tuple[Any, ...]]) -> None:
    """`numba_threads.each` with `parallel=True`."""
    calls = list(calls)
    begins, ends = np.array([call[-2:] for call in calls]).T.copy()
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    _PARALLEL[function](*calls[0][:-2], begins, ends)


def by_one(function: Callable[..., None], calls: Iterable[tuple[Any, ...]]) -> None:
    for arguments in calls:
        function(*arguments)


THREADS: dict[str, Callable[[], Any]] = {
    "torch's": lambda: patch.object(numba_threads, "_openmp", numba_threads._openmp),
    "a pool's": lambda: patch.object(numba_threads, "_openmp", None),
    "numba's": lambda: patch.object(numba_backend, "each", by_numba),
    "one alone": lambda: patch.object(numba_backend, "each", by_one),
}


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(parse(arguments), "threads", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__)
    parser.set_defaults(repeats=25)
    parser.add_argument("--case-seconds", type=float, default=45.0, help="per model: no new round after this time")
    return parser.parse_args(arguments)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    if args.device.type != "cpu" or numba_threads._openmp is None:
        raise Unusable("requires a CPU and a torch with OpenMP")
    args.size, args.coll_coef, args.heads = "quick" if args.quick else "cpu", None, None
    names = benchmarking.selected(CASES, str, args)
    cases = [measure_case(name, args) for name in benchmarking.progress(names, "training steps")]
    longer = [
        (f"{case['case']}, {row['threads']}", 100 * row["longer"])
        for case in cases
        for row in case["rows"][1:3]
        if args.size == "cpu"
    ]
    marks: list[Mark] = [judge("no other threads are quicker than torch's", longer, at_least=0, unit=" %")]
    return benchmarking.record("threads", args, started, {"size": args.size}, cases, marks)


def measure_case(name: str, args: Namespace) -> dict[str, Any]:
    build, heads = CASES[name]
    torch.manual_seed(0)
    seams: list[Seam] = []

    def seam() -> Seam:
        seams.append(Seam())
        return seams[-1]

    work = build(seam, args.size, args.device)
    work.model.train()
    optimizer = work.optimizer(work.model.parameters(), lr=0.0, **({"momentum": 0.9} if work.optimizer is SGD else {}))
    [variant] = kiti_variants(work, seams, work.loss, Namespace(heads=[heads], coll_coef=None)).values()
    for module, kind in zip(seams, variant.kinds, strict=True):
        module.kind = kind

    def step(threads: str) -> None:
        with THREADS[threads]():
            work.loss().backward()
            optimizer.step()
            optimizer.zero_grad()

    calls = {threads: partial(step, threads) for threads in THREADS}
    timings = measuring.interleaved(calls, args.device, rounds=args.repeats, budget=args.case_seconds, most=3)
    rows = []
    for threads, timing in timings.items():
        longer = measuring.ratio(timing, timings["torch's"])
        rows.append(
            {
                "threads": threads,
                **timing.summary(),
                "longer": longer.ratio - 1,
                "longer_lowest": longer.lowest - 1,
                "longer_highest": longer.highest - 1,
            }
        )
    return {"case": name, "batch": work.batch, **variant.described, "rows": rows}


def grid(record: dict[str, Any]) -> Grid:
    """A line for each model and kind of threads."""
    header = ["model", "batch", "systems x N", "threads", "ms a step", "longer"]
    lines = [
        [
            case["case"],
            case["batch"],
            f"{case['systems']} x {case['particles']}",
            row["threads"],
            timing_text(row),
            f"{percent(row['longer'])} ({percent(row['longer_lowest'])}…{percent(row['longer_highest'])})"
            if row["threads"] != "torch's"
            else NOTHING,
        ]
        for case in record["cases"]
        for row in case["rows"]
    ]
    notes = [
        "forward, loss, backward, optimizer and zero_grad at initialisation; median (least…most) of interleaved steps; "
        "longer: than with torch's threads, by the medians (least…most within a round)",
        f"{record['threads']} threads of torch, and as many others; numba's are those of its default layer",
        benchmarking.provenance(record),
    ]
    return Grid("Whose threads run the collision's loops", header, lines, notes)


if __name__ == "__main__":
    main()
