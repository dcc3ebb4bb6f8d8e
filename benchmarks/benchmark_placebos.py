"""Time of each placebo (docs/placebos.md) over that of the collision it stands for: of features and of gradients.

    python -m benchmarks.benchmark_placebos --json experiments/benchmarks/placebos.cpu.json \\
        --markdown experiments/benchmarks/placebos.cpu.md
    python -m benchmarks.benchmark_placebos --only 'gpt2|head'
    python -m benchmarks.benchmark_placebos --from-json RECORD --markdown TABLE       # rebuilds the table

Features: forward and backward of a residual on random features, at shapes of benchmark_collision.py. Gradients: one
call of KO on the layers of benchmark_ko.py.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks import benchmark_collision, benchmark_ko, benchmarking, measuring
from benchmarks.benchmark_collision import Case, Shape
from benchmarks.benchmark_ko import Layer
from benchmarks.benchmarking import Mark, judge, timing_text
from kiti.ko import KO
from kiti.ko.placebos import PLACEBOS
from kiti.report.formats import NOTHING, Grid
from kiti.residual import KITIResidual, MatchedNoise, Residual

COLLISION = "the collision"
AT_MOST = 1.2
OF_FEATURES: dict[str, Callable[..., Residual]] = {
    COLLISION: KITIResidual,
    "random_pairs": partial(KITIResidual, pairing="random"),
    "means_only": partial(KITIResidual, terms="means"),
    "kicks_only": partial(KITIResidual, terms="kicks", position_update=False),
    "sparse_noise": partial(MatchedNoise, sparse=True, detach_collision=False),
}
SHAPES = (
    Shape("fno1d", 1024, 8, 20 * 64),
    Shape("resnet34", 512, 2, 128 * 16),
    Shape("gpt2", 768, 8, 8 * 1024),
)
QUICK_SHAPES = (Shape("tiny", 32, 2, 4),)
SYSTEMS = 512  # of a shape's, at most: enough that a call's fixed cost does not show


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(parse(arguments), "placebos", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__)
    parser.add_argument("--case-seconds", type=float, default=5.0, help="start no new round after this time")
    parser.set_defaults(dtype="float32")
    return parser.parse_args(arguments)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    shapes = QUICK_SHAPES if args.quick else SHAPES
    layers = benchmark_ko.QUICK_LAYERS if args.quick else benchmark_ko.LAYERS
    features = [Case(shape, coll_coef, scale) for shape in shapes for coll_coef, scale in ((0.5, 0.5), (0.9, 0.3))]
    gradients = [(layer, mode) for layer in layers for mode in ("soft", "hard")]
    cases = benchmarking.selected([*features, *gradients], name_of, args)
    rows = measured(cases, args)
    return benchmarking.gather("placebos", args, started, {"systems": SYSTEMS}, rows, partial(marks, args))


def name_of(case: Case | tuple[Layer, str]) -> str:
    return f"features: {case.name}" if isinstance(case, Case) else f"gradients: {case[0].name}, {case[1]}"


def measured(cases: Sequence[Any], args: Namespace) -> Iterator[dict[str, Any]]:
    """A row for each case, as soon as it is measured."""
    for case in benchmarking.progress(cases, "placebos"):
        calls = calls_of_features(case, args) if isinstance(case, Case) else calls_of_gradients(*case, args)
        timings = measuring.interleaved(calls, args.device, rounds=args.repeats, budget=args.case_seconds)
        rows = {}
        for name, timing in timings.items():
            times = measuring.ratio(timing, timings[COLLISION])
            rows[name] = {
                **timing.summary(), "times": times.ratio, "times_lowest": times.lowest, "times_highest": times.highest,
            }  # fmt: skip
        yield {"case": name_of(case), "rows": rows}


def calls_of_features(case: Case, args: Namespace) -> dict[str, Callable[[], object]]:
    """By placebo, a call that returns the gradients of x and v."""
    x, v, grad = benchmark_collision.features(case, min(SYSTEMS, case.shape.systems), args)
    residuals = {name: make(case.shape.heads, case.coll_coef) for name, make in OF_FEATURES.items()}
    for residual in residuals.values():
        residual.running.warns = False  # type: ignore[union-attr]
    return {
        name: partial(lambda residual: torch.autograd.grad(residual(x, v), (x, v), grad), residual)
        for name, residual in residuals.items()
    }


def calls_of_gradients(layer: Layer, mode: str, args: Namespace) -> dict[str, Callable[[], object]]:
    """By placebo, a call that puts the layer's gradient where KO finds it and changes it."""
    weight, grad = benchmark_ko.weight_and_gradient(layer, args.device)
    coll_coef = 0.1 / len(weight) if mode == "soft" else 0.7

    def call_of(placebo: str | None) -> Callable[[], object]:
        parameter = nn.Parameter(weight.clone())
        parameter.grad = grad.clone()
        optimizer = torch.optim.SGD([parameter])
        ko = KO(optimizer, {"weight": parameter}, mode, coll_coef, placebo=placebo, attach=False)

        def call() -> None:
            parameter.grad.copy_(grad)  # type: ignore[union-attr]
            ko.collide()

        return call

    return {COLLISION: call_of(None), **{placebo: call_of(placebo) for placebo in PLACEBOS}}


def marks(args: Namespace, rows: Sequence[dict[str, Any]]) -> list[Mark]:
    """Whether each placebo is about as fast as its collision, by the median."""
    judged = []
    for what in ("features", "gradients"):
        times = [
            (f"{row['case'].split(': ', 1)[1]}, {name}", each["times"])
            for row in rows
            if row["case"].startswith(what)
            for name, each in row["rows"].items()
            if name != COLLISION
        ]
        text = f"{args.device.type}: {what}: at most {AT_MOST} times the collision"
        judged.append(judge(text, times, at_most=AT_MOST))
    return judged


def grid(record: dict[str, Any]) -> Grid:
    """A line for each case and placebo."""
    header = ["case", "placebo", "ms", "times the collision"]
    lines = [
        [row["case"], name, timing_text(each), NOTHING if name == COLLISION else times_text(each)]
        for row in record["cases"]
        for name, each in row["rows"].items()
    ]
    notes = [
        "median (least…most) of interleaved runs; times the collision: ratio of the medians (least…most in a round)",
        "features: forward and backward of a residual with kiti's gradient, float32, normal with standard deviation "
        f"`scale`, at most {record['settings']['systems']} systems",
        "gradients: one call of KO, soft with a tenth of 1/N, hard with 0.7",
        benchmarking.provenance(record),
    ]
    return Grid(f"Placebos over the collision, {record['device']}", header, lines, notes)


def times_text(row: dict[str, Any]) -> str:
    return f"{row['times']:.3g} ({row['times_lowest']:.3g}…{row['times_highest']:.3g})"


if __name__ == "__main__":
    main()
