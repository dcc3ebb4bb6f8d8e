"""A whole step of ResNet-18 on 32x32 images in four loops: kiti's, a bare PyTorch loop, and timm's train.py twice.

    python -m benchmarks.benchmark_step --loops --json experiments/benchmarks/loops.cpu.json \\
        --markdown experiments/benchmarks/loops.cpu.md

All train the same network in the same precision on batches of the same loader: random bytes, held on the device, and
cropped and flipped there. A step lasts from requesting its batch to requesting the next. kiti's loop is Lightning's
with a run's callbacks, logger and checkpoints; timm's is the step of its train.py, with timm's optimizer, loss and
meter, once unchanged and once with --channels-last. The batch is the papers' 128 on a GPU, 16 on a CPU.
"""

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import timm.utils
import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import benchmarking
from benchmarks.benchmarking import Mark, judge, timing_text
from benchmarks.measuring import Timing, ratio
from kiti.configuration.compose import compose
from kiti.data.loading import Batch, ResumableLoader
from kiti.data.small_images import Images, Labels, SmallImages
from kiti.report.formats import NOTHING, Grid, percent
from kiti.training import building

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}  # Lightning's names
WARM = 2  # uncounted steps of a round
MOST_ADDED = 3.0  # percent that Lightning's loop may add to a bare loop's step


class Noise(SmallImages):
    """Random pictures for the steps of a round; `asked` has the time at which each batch was requested."""

    def __init__(self, steps: int, batch_size: int, device: torch.device) -> None:
        super().__init__(10, steps * batch_size, batch_size, batch_size, augment=True, data_dir="", seed=0)
        self.device = device
        self.asked: list[float] = []

    def read(self) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
        generator = torch.Generator().manual_seed(0)

        def part(n: int) -> tuple[Images, Labels]:
            images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
            return images, torch.randint(10, (n,), generator=generator)

        return part(self.n_train), part(self.n_test)

    def _there(self, tensors: Batch) -> Batch:
        return tuple(tensor.to(self.device) for tensor in tensors)

    def train_dataloader(self) -> ResumableLoader:
        loader = super().train_dataloader()
        loader.batches = self._watched(loader.batches)  # type: ignore[method-assign]
        return loader

    def _watched(self, batches: Callable[[int, int], Iterator[Batch]]) -> Callable[[int, int], Iterator[Batch]]:
        def watched(epoch: int, first: int) -> Iterator[Batch]:
            self.asked = []
            made = batches(epoch, first)
            for step in range(self.n_train // self.batch_size):
                if self.device.type == "cuda" and step in (WARM, self.n_train // self.batch_size - 1):
                    torch.cuda.synchronize(self.device)
                self.asked.append(time.perf_counter())
                yield next(made)

        return watched

    def seconds(self) -> float:
        """Mean time of a step in the last round."""
        counted = self.asked[WARM:]
        return (counted[-1] - counted[0]) / (len(counted) - 1)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    building.hush_lightning()
    cuda = args.device.type == "cuda"
    args.batch, args.steps = (2, 4) if args.quick else (128, 102) if cuda else (16, 12)
    wanted = list(PRECISIONS) if cuda else ["float32"]
    names = [f"resnet18 {precision}" for precision in wanted]
    cases = [
        measure_case(name, args)
        for name in benchmarking.progress(benchmarking.selected(names, str, args), "precisions")
    ]
    settings = {"batch": args.batch, "steps": args.steps - 1 - WARM}
    return benchmarking.record("loops", args, started, settings, cases, marks(cases))


def measure_case(name: str, args: Namespace) -> dict[str, Any]:
    precision = name.split()[1]
    data = Noise(args.steps, args.batch, args.device)

    def autocast() -> torch.autocast:
        return torch.autocast(args.device.type, torch.bfloat16, enabled=precision != "float32")

    def network() -> nn.Module:
        return building.model(composed).to(args.device).train()

    with tempfile.TemporaryDirectory() as folder:
        composed = compose(
            [
                *("experiment=fashion_kitinet", "model.depth=18", f"data.batch_size={args.batch}"),
                *("trainer.max_epochs=1", f"trainer.accelerator={'gpu' if args.device.type == 'cuda' else 'cpu'}"),
                *(f"trainer.precision={PRECISIONS[precision]}", f"runs_dir={folder}", "resume=never"),
            ]
        )
        stock = network().state_dict()

        def of_timm(channels_last: bool) -> None:
            model = timm.create_model("resnet18", num_classes=10)
            model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()  # the CIFAR stem
            model.load_state_dict(stock)
            timm_loop(model.to(args.device), data.train_dataloader(), args.device, channels_last, autocast)

        def of_kiti() -> None:
            building.trainer(composed).fit(building.task(composed), data)

        loops: dict[str, Callable[[], None]] = {
            "bare": lambda: bare_loop(network(), data.train_dataloader(), autocast),
            "kiti": of_kiti,
            "timm": lambda: of_timm(False),
            "timm --channels-last": lambda: of_timm(True),
        }
        rounds: dict[str, list[list[float]]] = {loop: [] for loop in loops}
        order = list(loops)
        for _ in range(args.repeats):
            for loop in order:
                loops[loop]()
                rounds[loop].append([data.seconds()])
            order.append(order.pop(0))  # vary the order between rounds
    timings = {loop: Timing(seconds) for loop, seconds in rounds.items()}
    rows = []
    for loop, timing in timings.items():
        over = ratio(timing, timings["bare"])
        longer = {"longer": over.ratio - 1, "longer_lowest": over.lowest - 1, "longer_highest": over.highest - 1}
        rows.append({"loop": loop, **timing.summary(), **longer})
    best = min(("timm", "timm --channels-last"), key=lambda loop: timings[loop].median)
    against = ratio(timings["kiti"], timings[best])
    kiti = {"timm_best": best, "over_timm": against.ratio, "lowest": against.lowest, "highest": against.highest}
    return {"case": name, "loops": rows, "kiti": kiti}


def bare_loop(model: nn.Module, batches: Iterable[Batch], autocast: Callable[[], torch.autocast]) -> None:
    """Only what a step needs."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for images, labels in batches:
        with autocast():
            loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def timm_loop(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    channels_last: bool,
    autocast: Callable[[], torch.autocast],
) -> None:
    """A step of timm's train.py, for one process without gradient scaling, clipping and averaging."""
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimizer = create_optimizer_v2(model, opt="momentum", lr=0.1, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss().to(device)
    losses, seconds = timm.utils.AverageMeter(), timm.utils.AverageMeter()
    optimizer.zero_grad()
    begun = time.time()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        if channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with autocast():
            loss: Tensor = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), len(images))
        optimizer.zero_grad()
        seconds.update(time.time() - begun)
        begun = time.time()


def marks(cases: list[dict[str, Any]]) -> list[Mark]:
    """The marks of issue 6."""
    over_timm = [(case["case"], 100 * (case["kiti"]["over_timm"] - 1)) for case in cases]
    added = [(case["case"], 100 * row["longer"]) for case in cases for row in case["loops"] if row["loop"] == "kiti"]
    return [
        judge("kiti's step not longer than timm's, the quicker of both", over_timm, at_most=0, unit=" %"),
        judge(f"Lightning's loop at most {MOST_ADDED:g} % longer", added, at_most=MOST_ADDED, unit=" %"),
    ]


def grid(record: dict[str, Any]) -> Grid:
    """A line for each precision and loop."""
    header = ["case", "loop", "ms a step", "longer than bare", "kiti's over it"]
    lines = []
    for case in record["cases"]:
        for row in case["loops"]:
            longer = f"{percent(row['longer'])} ({percent(row['longer_lowest'])}…{percent(row['longer_highest'])})"
            kiti = case["kiti"]
            over = f"{kiti['over_timm']:.3f} ({kiti['lowest']:.3f}…{kiti['highest']:.3f})"
            lines.append(
                [
                    case["case"],
                    row["loop"],
                    timing_text(row),
                    NOTHING if row["loop"] == "bare" else longer,
                    over if row["loop"] == kiti["timm_best"] else NOTHING,
                ]
            )
    settings = record["settings"]
    notes = [
        f"{settings['steps']} steps a round at batch {settings['batch']}, CIFAR stem; median (least…most) over rounds "
        "in turns; ratios: of the medians (least…most within a round)",
        "a step is from asking for its batch to asking for the next; crops, flips and normalising are in it for all",
        "kiti: Lightning's trainer as a run has it, channels last; timm: the step of its train.py on kiti's loader",
        benchmarking.provenance(record),
    ]
    return Grid(f"A training step of ResNet-18 on 32x32 images in four loops, {record['device']}", header, lines, notes)
