"""Time and peak memory of KO's gradient collisions alone, soft and hard, on layers of the paper's models.

    python -m benchmarks.benchmark_ko --json experiments/benchmarks/ko.cpu.json \\
        --markdown experiments/benchmarks/ko.cpu.md
    python -m benchmarks.benchmark_ko --from-json RECORD --markdown TABLE             # rebuilds the table

Weights are at initialisation; gradients come from a softmax loss on top: (p - y)^T h for a head.
benchmarks/benchmark_step.py measures the cost of KO within a training step.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import benchmarking, measuring
from benchmarks.benchmarking import mib_text, timing_text
from kiti.collision.pairs import accepted_pairs
from kiti.ko import hard_collision, soft_collision
from kiti.report.formats import NOTHING, Grid

SAMPLES = 128  # images of a batch, or tokens


class Head(nn.Module):
    """A classifier on features that come from a ReLU."""

    def __init__(self, neurons: int, inputs: int) -> None:
        super().__init__()
        self.collided = nn.Linear(inputs, neurons)

    def forward(self, h: Tensor) -> Tensor:
        return self.collided(functional.relu(h))


class MLP(nn.Module):
    """Qwen2's gated MLP under a softmax head; one of its matrices collides.

    With nn.Linear's initialisation, weight rows are .816 apart whatever their length (A27), so in `down`, whose
    gradient rows are similar, nearly all pairs are accepted; with Qwen2's own, N(0, .02), they are 2 apart.
    """

    def __init__(self, hidden: int, width: int, collided: str, std: float | None = None) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)
        self.head = nn.Linear(width, 1000)
        self.collided = getattr(self, collided)
        if std is not None:
            for linear in (self.gate, self.up, self.down):
                nn.init.normal_(linear.weight, std=std)

    def forward(self, h: Tensor) -> Tensor:
        return self.head(self.down(functional.silu(self.gate(h)) * self.up(h)))


@dataclass(frozen=True)
class Layer:
    """A matrix of N neurons with D inputs, in the model that provides its gradient."""

    name: str
    inputs: int  # of the model
    model: Callable[[], Head | MLP]


LAYERS = (
    Layer("CIFAR head of ResNet-18", 512, lambda: Head(10, 512)),
    Layer("ImageNet head of ResNet-50", 2048, lambda: Head(1000, 2048)),
    Layer("Qwen2-0.5B gate", 896, lambda: MLP(4864, 896, "gate")),
    Layer("Qwen2-0.5B gate, N(0, .02)", 896, lambda: MLP(4864, 896, "gate", std=0.02)),
    Layer("Qwen2-0.5B down", 896, lambda: MLP(4864, 896, "down")),
    Layer("Qwen2-0.5B down, N(0, .02)", 896, lambda: MLP(4864, 896, "down", std=0.02)),
)
QUICK_LAYERS = (Layer("tiny head", 8, lambda: Head(6, 8)), Layer("tiny gate", 8, lambda: MLP(12, 8, "gate")))


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(parse(arguments), "ko", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__)
    parser.add_argument("--soft", type=float, default=0.1, metavar="C", help="coll_coef of soft, divided by N")
    parser.add_argument("--hard", type=float, default=0.7, metavar="C", help="coll_coef of hard (A27)")
    parser.add_argument("--case-seconds", type=float, default=10.0, help="start no new round after this time")
    return parser.parse_args(arguments)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    layers = benchmarking.selected(QUICK_LAYERS if args.quick else LAYERS, lambda layer: layer.name, args)
    rows = [measure_layer(layer, args) for layer in benchmarking.progress(layers, "KO")]
    return benchmarking.record(
        "ko", args, started, {"soft": args.soft, "hard": args.hard, "samples": SAMPLES}, rows, []
    )


def measure_layer(layer: Layer, args: Namespace) -> dict[str, Any]:
    weight, grad = weight_and_gradient(layer, args.device)
    n, d = weight.shape
    results: dict[str, Tensor] = {}

    def soft() -> None:
        results["soft"] = soft_collision(weight, grad, args.soft / n)

    def hard() -> None:
        results["hard"] = hard_collision(weight, grad, args.hard, generator=torch.Generator().manual_seed(0))

    calls = {"soft": soft, "hard": hard}
    timings = measuring.interleaved(calls, args.device, rounds=args.repeats, least=1, budget=args.case_seconds)
    return {
        "case": layer.name,
        "neurons": n,
        "inputs": d,
        "collisions": {
            mode: {
                **timings[mode].summary(),
                "peak_bytes": measuring.peak_bytes(call, args.device),
                "coll_coef": args.soft / n if mode == "soft" else args.hard,
                "relative_change": ((results[mode] - grad).norm() / grad.norm()).item(),
                "partners": 2 * len(accepted_pairs(weight, grad, 1 - args.hard)[0]) / n if mode == "hard" else None,
            }
            for mode, call in calls.items()
        },
    }


def weight_and_gradient(layer: Layer, device: torch.device) -> tuple[Tensor, Tensor]:
    """The colliding matrix and its gradient, from the mean cross-entropy of random samples with random labels."""
    torch.manual_seed(0)
    model = layer.model()
    logits = model(torch.randn(SAMPLES, layer.inputs))
    functional.cross_entropy(logits, torch.randint(logits.shape[1], (SAMPLES,))).backward()
    weight = model.collided.weight
    assert weight.grad is not None
    return weight.detach().to(device), weight.grad.to(device)


def grid(record: dict[str, Any]) -> Grid:
    """A line for each layer and mode."""
    header = ["layer", "N x D", "collision", "coll_coef", "ms", "MiB", "change of gradient", "partners"]
    lines = [
        [
            case["case"],
            f"{case['neurons']} x {case['inputs']}",
            mode,
            f"{row['coll_coef']:.3g}",
            timing_text(row),
            mib_text(row["peak_bytes"]),
            f"{row['relative_change']:.3g}",
            NOTHING if row["partners"] is None else f"{row['partners']:.3g}",
        ]
        for case in record["cases"]
        for mode, row in case["collisions"].items()
    ]
    notes = [
        "median (least…most) of interleaved runs; MiB: peak of one call above what was held before",
        "float32, weights at initialisation, nn.Linear's where no other is named, gradients of a softmax cross-entropy "
        f"over {record['settings']['samples']} random samples; gate is as up",
        "change of gradient: |Δg|/|g|; partners: neurons that a neuron collides with",
        benchmarking.provenance(record),
    ]
    return Grid(f"KO's collision of gradients, {record['device']}", header, lines, notes)


if __name__ == "__main__":
    main()
