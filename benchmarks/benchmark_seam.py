"""What the seam's hooks cost: training against blocks of replaced classes, eval against the stock model.

    python -m benchmarks.benchmark_seam --json experiments/benchmarks/seam.cpu.json \\
        --markdown experiments/benchmarks/seam.cpu.md

Before `open_seam` had hooks, it gave a block a subclass whose forward calls residual(x, v) in place of the addition.
Those subclasses are kept here for comparison. Both variants share one model and one residual per seam.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import isnan
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.optim import SGD
from torchvision.models.resnet import Bottleneck
from transformers.models.bert.modeling_bert import BertOutput, BertSelfOutput
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

from benchmarks import benchmarking, measuring
from benchmarks.benchmark_models import MODELS
from benchmarks.benchmarking import Mark, judge, timing_text
from kiti.report.formats import NOTHING, Grid, percent
from kiti.residual import KITIResidual

CASES = {"resnet50": 4, "gpt2": 8, "bert-base": 8}
"""collision_heads by model; coll_coef is one at which few pairs collide, so that the rest of the step is not hidden."""
COLL_COEF = 0.1
MOST = 1.0


class SwappedBottleneck(Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        v = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        v = self.bn3(self.conv3(v))
        return relu(self.residual(x if self.downsample is None else self.downsample(x), v))  # type: ignore[operator]


class SwappedGPT2Block(GPT2Block):
    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        kwargs.pop("encoder_hidden_states", None)
        kwargs.pop("encoder_attention_mask", None)
        v, _ = self.attn(self.ln_1(hidden_states), *args, **kwargs)
        hidden_states = self.residual(hidden_states, v)  # type: ignore[operator]
        return hidden_states + self.mlp(self.ln_2(hidden_states))


class SwappedSelfOutput(BertSelfOutput):
    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        return self.LayerNorm(self.residual(input_tensor, self.dropout(self.dense(hidden_states))))


class SwappedOutput(BertOutput):
    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        return self.LayerNorm(self.residual(input_tensor, self.dropout(self.dense(hidden_states))))


SWAPS: dict[type[nn.Module], type[nn.Module]] = {
    Bottleneck: SwappedBottleneck,
    GPT2Block: SwappedGPT2Block,
    BertSelfOutput: SwappedSelfOutput,
    BertOutput: SwappedOutput,
}


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(parse(arguments), "seam", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__)
    parser.set_defaults(repeats=25)
    parser.add_argument("--case-seconds", type=float, default=120.0, help="per model and mode: no new round after this")
    return parser.parse_args(arguments)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    size = "quick" if args.quick else "paper" if args.device.type == "cuda" else "cpu"
    names = benchmarking.selected(CASES, str, args)
    cases = [
        measure_case(name, mode, size, args)
        for name in benchmarking.progress(names, "models")
        for mode in ("train", "eval")
    ]
    at_least = [(case["case"], 100 * case["rows"][1]["longer_lowest"]) for case in cases if size != "quick"]
    mark = "hooks at most 1 % longer, or not distinguishable from that: lower end of the interval"
    marks: list[Mark] = [judge(mark, at_least, at_most=MOST, unit=" %")]
    return benchmarking.record("seam", args, started, {"size": size}, cases, marks)


def measure_case(name: str, mode: str, size: str, args: Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    work = MODELS[name](partial(KITIResidual, CASES[name], COLL_COEF), size, args.device)
    residuals = [module for module in work.model.modules() if isinstance(module, KITIResidual)]
    for residual in residuals:
        residual.running.warns = False
    optimizer = SGD(work.model.parameters(), lr=0.0, momentum=0.9)
    work.model.train(mode == "train")

    def step(variant: Callable[[nn.Module], Any]) -> None:
        with variant(work.model):
            if mode == "eval":
                with torch.no_grad():
                    work.loss()
                return
            work.loss().backward()
            optimizer.step()
            optimizer.zero_grad()

    variants = {"classes replaced": swapped, "hooks": hooked} if mode == "train" else {"stock": closed, "hooks": hooked}
    calls = {key: partial(step, variant) for key, variant in variants.items()}
    timings = measuring.interleaved(calls, args.device, rounds=args.repeats, budget=args.case_seconds, most=3)
    first, *_ = timings
    rows = []
    for key, timing in timings.items():
        longer = measuring.paired_ratio(timing, timings[first])
        rows.append(
            {
                "variant": key,
                **timing.summary(),
                "rounds": len(timing.rounds),
                "longer": longer.ratio - 1,
                "longer_lowest": None if isnan(longer.lowest) else longer.lowest - 1,
                "longer_highest": None if isnan(longer.highest) else longer.highest - 1,
            }
        )
    return {"case": f"{name}, {mode}", "batch": work.batch, "seams": len(residuals), "rows": rows}


@contextmanager
def hooked(model: nn.Module) -> Iterator[None]:
    """The model as `open_seam` leaves it."""
    yield


@contextmanager
def closed(model: nn.Module) -> Iterator[None]:
    """Without hooks, as the stock model is."""
    residuals = [(name, module) for name, module in model.named_modules() if isinstance(module, KITIResidual)]
    for _, residual in residuals:
        residual.seam.close()
    try:
        yield
    finally:
        for name, residual in residuals:
            residual.seam.open(model, name.rpartition(".")[0])


@contextmanager
def swapped(model: nn.Module) -> Iterator[None]:
    """Without hooks, the classes of the blocks with a seam replaced."""
    swaps: list[tuple[nn.Module, type[nn.Module]]] = []
    for name, residual in [(n, m) for n, m in model.named_modules() if isinstance(m, KITIResidual)]:
        owner = model.get_submodule(name.rpartition(".")[0])
        block = next(m for m in owner.modules() if type(m) in SWAPS)
        if not hasattr(block, "residual"):
            object.__setattr__(block, "residual", residual)
        swaps.append((block, type(block)))
        block.__class__ = SWAPS[type(block)]
    with closed(model):
        try:
            yield
        finally:
            for block, before in swaps:
                block.__class__ = before


def longer_text(row: dict[str, Any]) -> str:
    if row["longer_lowest"] is None:  # too few rounds for an interval
        return percent(row["longer"])
    return f"{percent(row['longer'])} [{percent(row['longer_lowest'])}, {percent(row['longer_highest'])}]"


def grid(record: dict[str, Any]) -> Grid:
    """A line for each model, mode and variant."""
    header = ["model", "batch", "seams", "rounds", "variant", "ms", "longer"]
    lines = [
        [
            case["case"],
            case["batch"],
            str(case["seams"]),
            str(row["rounds"]),
            row["variant"],
            timing_text(row),
            longer_text(row) if at else NOTHING,
        ]
        for case in record["cases"]
        for at, row in enumerate(case["rows"])
    ]
    notes = [
        "train: forward, loss, backward, optimizer and zero_grad; eval: forward and loss; median (least…most) of "
        "interleaved rounds; longer: than the first variant in the same round, the median with its 95 % interval over "
        "the rounds, from their order alone",
        benchmarking.provenance(record),
    ]
    return Grid("What the seam's hooks cost", header, lines, notes)


if __name__ == "__main__":
    main()
