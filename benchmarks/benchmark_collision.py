"""Time and peak memory of every implementation of the collision against the literal form, forward and backward.

    python -m benchmarks.benchmark_collision --json experiments/benchmarks/collision.cpu.json \\
        --markdown experiments/benchmarks/collision.cpu.md
    python -m benchmarks.benchmark_collision --device cuda --only 'gpt2|bert'
    python -m benchmarks.benchmark_collision --from-json RECORD --markdown TABLE      # rebuilds the table

Cases: the seams of the papers' models x coll_coef x feature scale. The literal form needs pairs x heads memory, so a
case has only as many of the model's systems as it can hold, the same ones for all implementations.
"""

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import benchmarking, measuring
from benchmarks.benchmark_collision_report import OPERATOR_PARTICLES, grid, marks
from benchmarks.benchmarking import Mark
from kiti.collision.dispatch import IMPLEMENTATIONS, collide_with_statistics, pick

COLL_COEFS = (0.1, 0.5, 0.9)
SCALES = (0.1, 1.0)  # of the features; acceptance depends on x's, not on v's (A7)
DEVICE_OF = {"numba": "cpu", "triton": "cuda"}  # `literal` runs anywhere; Triton's interpreter is for tests

LITERAL_TENSORS = 10  # number of each kind that the literal form holds at its peak, approximately
COMPARED_ENTRIES = 2**22  # on which results are compared, with given directions


@dataclass(frozen=True)
class Shape:
    """The seam of a model: N = dim / heads particles in each of `systems`, as many as in a training step."""

    model: str
    dim: int
    heads: int
    systems: int

    @property
    def particles(self) -> int:
        return self.dim // self.heads

    @property
    def entries(self) -> int:
        """Entries that the literal form computes and holds per system, in N x N and N x N x heads matrices."""
        return self.particles**2 * (self.heads + 1)


@dataclass(frozen=True)
class Case:
    shape: Shape
    coll_coef: float
    scale: float

    @property
    def name(self) -> str:
        return f"{self.shape.model} heads={self.shape.heads} coll_coef={self.coll_coef:g} scale={self.scale:g}"


def shapes() -> list[Shape]:
    # A ResNet's heads are not given; its printed FLOPs fit 2 (one block) or 4 (two blocks), reading A13. 8 is the
    # largest at which unit-normal features collide at all for coll_coef 0.9 (A7).
    resnets = [
        Shape(f"{model} {stem}-stem", dim, heads, 128 * positions)
        for model, dim in (("resnet34", 512), ("resnet50", 2048))  # 18 is like 34; 101 and 152 are like 50
        for stem, positions in (("imagenet", 1), ("cifar", 16))
        for heads in (2, 4, 8)
    ]
    widths = {"gpt2": 768, "gpt2-medium": 1024, "gpt2-large": 1280, "gpt2-xl": 1600}
    gpts = [Shape(model, dim, 8, 8 * 1024) for model, dim in widths.items()]
    fno1d = [Shape("fno1d", 1024, 2**power, 20 * 64) for power in range(11)]  # Figure 2a; the last has one particle
    fno2d = [Shape("fno2d", 32 * 32, heads, 20 * 20) for heads in (2, 8, 32)]
    return [*resnets, *gpts, Shape("bert-base", 768, 8, 32 * 512), *fno1d, *fno2d]


def quick_shapes() -> list[Shape]:
    return [Shape("tiny", 32, 2, 4), Shape("tiny-one-particle", 8, 8, 4)]


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(parse(arguments), "collision", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64", "bfloat16", "float16"))
    parser.add_argument("--memory-mib", type=float, help="most memory of the literal form (1024; 16384 on a GPU)")
    parser.add_argument("--literal-seconds", type=float, default=1.0, help="approximate time of a literal call")
    parser.add_argument("--case-seconds", type=float, default=1.5, help="start no new round after this time")
    args = parser.parse_args(arguments)
    args.memory_mib = args.memory_mib or (16384 if args.device.type == "cuda" else 1024)
    return args


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    cases = [
        Case(shape, coll_coef, scale)
        for shape in (quick_shapes() if args.quick else shapes())
        for coll_coef in COLL_COEFS
        for scale in SCALES
    ]
    cases = benchmarking.selected(cases, lambda case: case.name, args)
    rate = literal_entries_a_second(args)
    settings = {"dtype": args.dtype, "memory_mib": args.memory_mib, "literal_seconds": args.literal_seconds}

    def judged(rows: list[Any]) -> list[Mark]:
        return marks(rows, args.device.type, args.threads)

    return benchmarking.gather("collision", args, started, settings, measured(cases, args, rate), judged)


def measured(cases: Sequence[Case], args: Namespace, rate: float) -> Iterator[dict[str, Any]]:
    """A row for each case, as soon as it is measured."""
    done: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}
    for case in benchmarking.progress(cases, "collision"):
        systems = systems_used(case.shape, args, rate)
        # Models that differ only in their number of systems may be reduced to the same case.
        same = (case.shape.dim, case.shape.heads, systems, case.coll_coef, case.scale)
        if same not in done:
            done[same] = (case.name, measure_case(case, systems, args))
        first, numbers = done[same]
        yield {
            **describe(case, systems),
            "same_as": None if first == case.name else first,
            **numbers,
            "operator": measure_operator(case, numbers, args),
        }


def describe(case: Case, systems: int) -> dict[str, Any]:
    return {
        "case": case.name,
        "model": case.shape.model,
        "dim": case.shape.dim,
        "collision_heads": case.shape.heads,
        "particles": case.shape.particles,
        "coll_coef": case.coll_coef,
        "scale": case.scale,
        "systems": systems,
        "model_systems": case.shape.systems,
    }


def systems_used(shape: Shape, args: Namespace, rate: float) -> int:
    """As many of the model's systems as the literal form can hold in --memory-mib and process in --literal-seconds."""
    held = args.memory_mib * 2**20 / (LITERAL_TENSORS * itemsize(args) * shape.entries)
    visited = args.literal_seconds * rate / shape.entries
    fitting = max(1, int(min(held, visited)))
    return min(shape.systems, 2 ** (fitting.bit_length() - 1))  # a power of two, so that `rate` need not be exact


def itemsize(args: Namespace) -> int:
    return 8 if args.dtype == "float64" else 4  # half precision is computed in float32


def literal_entries_a_second(args: Namespace) -> float:
    probe = Shape("probe", 512, 4, 16 if args.device.type == "cpu" else 1024)
    call = forward_backward("literal", Case(probe, 0.5, 1.0), features(Case(probe, 0.5, 1.0), probe.systems, args))
    [timing] = measuring.interleaved({"": call}, args.device, rounds=3, budget=1.0).values()
    return probe.systems * probe.entries / timing.median


def features(case: Case, systems: int, args: Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """x and v of standard deviation `scale`, and a gradient of x'."""
    generator = torch.Generator().manual_seed(0)
    x, v, grad = torch.randn(3, systems, case.shape.dim, generator=generator).to(
        args.device, getattr(torch, args.dtype)
    )
    return (case.scale * x).requires_grad_(), (case.scale * v).requires_grad_(), grad


def forward_backward(name: str, case: Case, tensors: tuple[Tensor, Tensor, Tensor], directions: Tensor | None = None):
    """A call that returns x', the gradients of x and v, and partners per particle."""
    x, v, grad = tensors

    def call() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out, collisions = collide_with_statistics(
            x,
            v,
            collision_heads=case.shape.heads,
            coll_coef=case.coll_coef,
            directions=directions,
            implementation=name,
        )
        return out.detach(), *torch.autograd.grad(out, (x, v), grad), collisions.partners

    return call


def implementations(device: torch.device) -> list[str]:
    """The implementations for the device, `literal` first."""
    able = [name for name in IMPLEMENTATIONS if DEVICE_OF.get(name, device.type) == device.type]
    return sorted(able, key=lambda name: name != "literal")


def measure_case(case: Case, systems: int, args: Namespace) -> dict[str, Any]:
    names = implementations(args.device)
    tensors = features(case, systems, args)
    calls = {name: forward_backward(name, case, tensors) for name in names}
    results = {name: call() for name, call in calls.items()}
    partners = {name: result[-1].item() for name, result in results.items()}
    returned = {name: returned_bytes(result[:-1], tensors) for name, result in results.items()}
    del results
    timings = measuring.interleaved(calls, args.device, rounds=args.repeats, budget=args.case_seconds)
    peaks = {name: measuring.peak_bytes(call, args.device) for name, call in calls.items()}
    compared = compare(case, systems, names, args)
    rows = {}
    for name in names:
        faster = measuring.ratio(timings["literal"], timings[name])
        rows[name] = {
            **timings[name].summary(),
            "times_faster": faster.ratio,
            "times_faster_lowest": faster.lowest,
            "times_faster_highest": faster.highest,
            "peak_bytes": peaks[name],
            "returned_bytes": returned[name],
            "partners": partners[name],
            **compared[name],
        }
    fastest = min(names, key=lambda name: timings[name].median)
    return {
        "implementations": rows,
        "auto": pick("auto", tensors[0]),
        "fastest": fastest,
    }


def returned_bytes(results: Sequence[Tensor], given: Sequence[Tensor]) -> int:
    """Memory of the results beyond that of the inputs: a gradient may be the incoming one itself."""
    storages = {result.data_ptr(): result.untyped_storage().nbytes() for result in results}
    return sum(size for at, size in storages.items() if at not in {tensor.data_ptr() for tensor in given})


def compare(case: Case, systems: int, names: Sequence[str], args: Namespace) -> dict[str, dict[str, float | None]]:
    """Largest differences from `literal` on the same given directions, in units of literal's largest entry.

    If a pair's score is within rounding of 1 - coll_coef, only one implementation may accept it, and the results then
    differ by a collision: `pairs_apart` says how many more (or fewer) pairs were accepted.
    """
    some = max(1, min(systems, COMPARED_ENTRIES // case.shape.entries))
    tensors = features(case, some, args)
    given = directions(case.shape, some, tensors[0])
    results = {name: forward_backward(name, case, tensors, given)() for name in names}
    exact = results["literal"]

    def apart(results: tuple[Tensor, ...], which: slice) -> float:
        pairs = zip(results[which], exact[which], strict=True)
        return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)

    half_particles = some * case.shape.particles / 2
    return {
        name: {
            "value_difference": apart(result, slice(0, 1)),
            "gradient_difference": apart(result, slice(1, 3)),
            "pairs_apart": round((result[3] - exact[3]).item() * half_particles),
        }
        for name, result in results.items()
    }


def directions(shape: Shape, systems: int, like: Tensor) -> Tensor:
    """Unit vectors n_ij = -n_ji."""
    n = shape.particles
    normal = torch.randn(systems, n, n, shape.heads, generator=torch.Generator().manual_seed(1)).to(like)
    unit = normal / normal.norm(dim=-1, keepdim=True)
    upper = torch.ones(n, n, device=like.device, dtype=like.dtype).triu(1)[..., None]
    return unit * upper - (unit * upper).transpose(1, 2)


def measure_operator(case: Case, numbers: dict[str, Any], args: Namespace) -> dict[str, float] | None:
    """GPU time of the forward pass over all the model's systems, and of reading x and v and writing x + v once."""
    little = numbers["implementations"]["literal"]["partners"] <= 1
    if args.device.type != "cuda" or not (1 < case.shape.particles <= OPERATOR_PARTICLES and little):
        return None
    from triton.testing import do_bench  # flushes the cache before every run, and measures GPU time

    x, v, _ = features(case, case.shape.systems, args)
    out = torch.empty_like(x, requires_grad=False)
    settings = {"collision_heads": case.shape.heads, "coll_coef": case.coll_coef}
    collide = do_bench(lambda: collide_with_statistics(x, v, **settings), return_mode="median") / 1e3
    add = do_bench(lambda: torch.add(x.detach(), v.detach(), out=out), return_mode="median") / 1e3
    return {"collide_s": collide, "add_s": add, "times_add": collide / add}


if __name__ == "__main__":
    main()
