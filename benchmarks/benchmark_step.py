"""A whole training step, residual=add against residual=kiti and collision=none against soft and hard, model by model.

    python -m benchmarks.benchmark_step --json experiments/benchmarks/step.cpu.json \\
        --markdown experiments/benchmarks/step.cpu.md
    python -m benchmarks.benchmark_step --device cuda --models 'resnet50|gpt2'
    python -m benchmarks.benchmark_step --from-json RECORD --markdown TABLE           # rebuilds the table
    python -m benchmarks.benchmark_step --loops            # the training loop: see benchmark_loops.py

A step is forward, loss, backward, gradient collisions, optimizer, zero_grad. On a GPU, sizes are the papers' and the
precision is bfloat16 autocast (FNO: float32). On a CPU it is float32, and batches are smaller or split into parts whose
gradients are summed, as the table says.
The learning rate is 0: every step is timed at the initialisation for which coll_coef is chosen.
"""

import gc
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from benchmarks import benchmarking, measuring
from benchmarks.benchmark_models import MODELS, Builder, Size, Workload
from benchmarks.benchmarking import Mark, judge, mib_text, timing_text
from kiti.calibration.acceptance import Tap, acceptance
from kiti.ko import KO, select
from kiti.report.formats import NOTHING, Grid, percent
from kiti.residual import Add, KITIResidual, Residual

SOFT = 0.1  # divided by N
HARD = 0.7  # reading A27
LONGER = {"resnet50": 0.05, "gpt2": 0.05, "bert-base": 0.05}  # marks: how much longer a step with the seam may take
LONGER_FNO, LONGER_SOFT, LONGER_HARD = 0.25, 0.01, 0.03


class Seam(Residual):
    """A residual connection with an exchangeable kind, so that all kinds are timed on one model."""

    def __init__(self) -> None:
        super().__init__()
        self.kind: Residual = Add()

    @property
    def is_addition(self) -> bool:
        return self.kind.is_addition

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        return self.kind(x, v)


@dataclass
class Variant:
    """A step's residual and collision."""

    residual: str
    collision: str
    kinds: list[Residual] = field(default_factory=list)  # one per seam
    ko: KO | None = None
    collided: list[Callable[[], float]] = field(default_factory=list)  # KO's seconds in each step
    described: dict[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    if args.loops:
        from benchmarks import benchmark_loops  # imported here as it needs hydra, which the steps do not

        benchmarking.run(args, "loops", benchmark_loops.measure, benchmark_loops.grid)
    else:
        benchmarking.run(args, "step", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__, select="--models")
    parser.set_defaults(repeats=25)  # resolves differences of a few percent
    parser.add_argument("--coll-coef", type=float, help="of the seam; default: the one for one pair per system")
    parser.add_argument("--heads", type=int, nargs="+", help="measure only these collision_heads of a model's own")
    parser.add_argument("--case-seconds", type=float, default=150.0, help="per model: no new round after this time")
    parser.add_argument("--loops", action="store_true", help="compare kiti's loop with a bare one and timm's instead")
    return parser.parse_args(arguments)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    args.size = "quick" if args.quick else "paper" if args.device.type == "cuda" else "cpu"
    names = benchmarking.selected(MODELS, str, args)
    settings = {"size": args.size, "coll_coef": args.coll_coef, "soft": SOFT, "hard": HARD}
    cases = (measure_workload(name, MODELS[name], args) for name in benchmarking.progress(names, "training steps"))

    def judged(cases: list[Any]) -> list[Mark]:
        return marks(cases, args.device.type, args.size)

    return benchmarking.gather("step", args, started, settings, cases, judged)


def measure_workload(name: str, build: Builder, args: Namespace) -> dict[str, Any]:
    gc.collect()  # the previous model
    torch.manual_seed(0)
    seams: list[Seam] = []

    def seam() -> Seam:
        seams.append(Seam())
        return seams[-1]

    work = build(seam, args.size, args.device)
    work.model.train()
    optimizer = work.optimizer(work.model.parameters(), lr=0.0, **({"momentum": 0.9} if work.optimizer is SGD else {}))
    half = work.autocast and args.device.type == "cuda"

    def loss() -> Tensor:
        with torch.autocast(args.device.type, torch.bfloat16, enabled=half):
            return work.loss()

    variants = {"add": Variant("add", "none", [Add() for _ in seams])}
    variants |= kiti_variants(work, seams, loss, args)
    for mode, coll_coef in (("soft", SOFT), ("hard", HARD)) if work.neurons else ():
        parameters = select(work.model, work.neurons)
        steps = SGD(parameters.values(), lr=0.0)  # of its own: an optimizer takes one KO
        ko = KO(steps, parameters, mode, coll_coef, normalize=mode == "soft", attach=False)
        described = {"neurons": [tuple(p.shape) for p in parameters.values()], "coll_coef": coll_coef}
        variants[mode] = Variant("add", mode, variants["add"].kinds, ko, described=described)

    def step(variant: Variant) -> None:
        for module, kind in zip(seams, variant.kinds, strict=True):
            module.kind = kind
        for _ in range(work.parts):
            (loss() / work.parts).backward()
        if variant.ko:
            variant.collided.append(measuring.seconds_within(variant.ko.collide, args.device))
        optimizer.step()
        optimizer.zero_grad()

    calls = {key: partial(step, variant) for key, variant in variants.items()}
    timings = measuring.interleaved(calls, args.device, rounds=args.repeats, budget=args.case_seconds, most=3)
    held = held_bytes([*work.model.parameters(), *work.model.buffers()], optimizer)
    peaks = {key: measuring.peak_bytes(call, args.device) for key, call in calls.items()}
    rows = []
    for key, variant in variants.items():
        longer = measuring.ratio(timings[key], timings["add"])
        rows.append(
            {
                "variant": key,
                "residual": variant.residual,
                "collision": variant.collision,
                **timings[key].summary(),
                "longer": longer.ratio - 1,
                "longer_lowest": longer.lowest - 1,
                "longer_highest": longer.highest - 1,
                "peak_bytes": peaks[key],
                **variant.described,
                **observed(variant),
            }
        )
    return {
        "case": name,
        "batch": work.batch,
        "precision": "bfloat16 autocast" if half else "float32",
        "parameters": sum(p.numel() for p in work.model.parameters()),
        "seams": len(seams),
        "held_bytes": held,
        "variants": rows,
    }


def held_bytes(tensors: Iterable[Tensor], optimizer: Optimizer) -> int:
    """Bytes of a model's tensors and of the optimizer's state for them."""
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in (*tensors, *kept))


def kiti_variants(work: Workload, seams: list[Seam], loss: Callable[[], Tensor], args: Namespace) -> dict[str, Variant]:
    """One for each collision_heads, with the coll_coef for one pair per system, on average over all seams."""
    wanted = [heads for heads in work.heads if not args.heads or heads in args.heads]
    if not wanted:
        return {}
    taps = [Tap(work.system_axis) for _ in seams]
    for seam, tap in zip(seams, taps, strict=True):
        seam.kind, tap.open = tap, True
    with torch.no_grad():
        loss()
    x, v = (torch.cat(parts) for parts in zip(*(tap.systems[0] for tap in taps), strict=True))
    systems, dim = len(x) // len(seams), x.shape[1]
    variants = {}
    for heads in wanted:
        coll_coef = args.coll_coef
        if coll_coef is None:  # a single particle never collides, so any value will do
            coll_coef = acceptance((x, v), heads, []).one_pair if heads < dim else 0.5
        kinds = [KITIResidual(heads, coll_coef, system_axis=work.system_axis) for _ in seams]
        described = {
            "collision_heads": heads,
            "particles": dim // heads,
            "dim": dim,
            "systems": systems,
            "coll_coef": coll_coef,
        }
        variants[f"kiti heads={heads}"] = Variant("kiti", "none", kinds, described=described)
    return variants


def observed(variant: Variant) -> dict[str, Any]:
    """For the last step: partners per particle, averaged over seams; the largest relative change of a gradient.

    For all steps: the median of the seconds spent on gradient collisions.
    """
    seen: dict[str, Any] = {}
    collided = [kind for kind in variant.kinds if isinstance(kind, KITIResidual)]
    if collided:
        seen["partners"] = statistics.mean(float(kind.collisions.partners) for kind in collided)
        seen["implementation"] = collided[0].picked
    if variant.ko:
        seen["collision_s"] = statistics.median(seconds() for seconds in variant.collided)
        seen["relative_change"] = max(float(change) for change in variant.ko.relative_change.values())
    return seen


def marks(cases: Sequence[dict[str, Any]], device: str, size: Size) -> list[Mark]:
    """The marks of issue 3, which are for a GPU and the papers' batches."""
    rows = {case["case"]: case["variants"] for case in cases} if (device, size) == ("cuda", "paper") else {}

    def longer(which: Callable[[dict[str, Any]], bool], *models: str) -> list[tuple[str, float]]:
        chosen = [(model, row) for model in models for row in rows.get(model, []) if which(row)]
        return [(f"{model} {row['variant']}", 100 * row["longer"]) for model, row in chosen]

    judged = [
        judge(
            f"cuda: {model} with the seam at most {limit:.0%} longer",
            longer(lambda row: row["residual"] == "kiti", model),
            at_most=100 * limit,
            unit=" %",
        )
        for model, limit in LONGER.items()
    ]
    heads = longer(lambda row: row["residual"] == "kiti" and row["particles"] > 1, "fno1d")
    best = sorted(heads, key=lambda named: named[1])[:1]
    text = f"cuda: fno1d with the seam at most {LONGER_FNO:.0%} longer at its best collision_heads (N > 1)"
    judged.append(judge(text, best, at_most=100 * LONGER_FNO, unit=" %"))
    for mode, limit in (("soft", LONGER_SOFT), ("hard", LONGER_HARD)):
        found = longer(lambda row, mode=mode: row["collision"] == mode, *rows)
        judged.append(
            judge(f"cuda: {mode} collision at most {limit:.0%} longer", found, at_most=100 * limit, unit=" %")
        )
    return judged


def grid(record: dict[str, Any]) -> Grid:
    """A line for each model and variant."""
    header = [
        "model",
        "batch",
        "precision",
        "variant",
        "systems x N",
        "coll_coef",
        "partners",
        "change of gradient",
        "ms a step",
        "longer",
        "collision ms",
        "MiB",
        "picked",
    ]
    lines = [line(case, row) for case in record["cases"] for row in case["variants"]]
    sizes = {
        "paper": "batches as in the papers",
        "cpu": "batches cut down to what a CPU finishes, except FNO's and Qwen2's (4 x 1024: ours, the paper gives "
        "none); the papers': ResNet 128, GPT-2 8 x 1024, BERT 32 x 512",
        "quick": "models and batches cut down to a test of this script",
    }
    notes = [
        "forward, loss, backward, collision of gradients, optimizer and zero_grad at initialisation; median "
        "(least…most) of interleaved steps; longer: than `add`, by the medians (least…most within a round); collision "
        "ms: what that of gradients takes of a step, median",
        sizes[record["settings"]["size"]],
        "seams: ResNet every block of the last stage, GPT-2 after every attention, BERT both of the final layer, FNO "
        "every layer; coll_coef: one accepted pair a system on the model's own features, on average over all seams, if "
        "not chosen; partners: accepted a particle, mean over seams",
        f"gradients: of the classifier (ResNet fc, BERT's head, FNO fc1) or of all matrices of the last block (Qwen2); "
        f"soft coll_coef {record['settings']['soft']}/N, hard {record['settings']['hard']}; change of "
        "gradient: |Δg|/|g|, the largest over matrices",
        "MiB: peak of a step above weights, optimizer state and batch",
        benchmarking.provenance(record),
    ]
    return Grid(f"A training step with and without collisions, {record['device']}", header, lines, notes)


def line(case: dict[str, Any], row: dict[str, Any]) -> list[str]:
    def number(key: str) -> str:
        return f"{row[key]:.3g}" if row.get(key) is not None else NOTHING

    longer = f"{percent(row['longer'])} ({percent(row['longer_lowest'])}…{percent(row['longer_highest'])})"
    return [
        case["case"],
        case["batch"],
        case["precision"],
        row["variant"],
        f"{row['systems']} x {row['particles']}" if "systems" in row else NOTHING,
        number("coll_coef") + ("/N" if row["collision"] == "soft" else ""),
        number("partners"),
        number("relative_change"),
        timing_text(row),
        NOTHING if row["variant"] == "add" else longer,
        f"{1000 * row['collision_s']:.3g}" if "collision_s" in row else NOTHING,
        mib_text(row["peak_bytes"]),
        row.get("implementation", NOTHING),
    ]


if __name__ == "__main__":
    main()
