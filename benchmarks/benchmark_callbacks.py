"""The cost of tracking a network's neurons: seconds of the callback per epoch, against those of the epoch's steps.

    python -m benchmarks.benchmark_callbacks --json experiments/benchmarks/callbacks.cpu.json \\
        --markdown experiments/benchmarks/callbacks.cpu.md

ρ and max |cos| of every named layer, after every epoch, in trainings set up as by kiti's commands. Lightning's profiler
times both.
"""

import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.profilers import SimpleProfiler

from benchmarks import benchmarking
from benchmarks.benchmarking import Mark, Unusable, judge, timing_text
from kiti.configuration.compose import compose
from kiti.data import DataError
from kiti.report.formats import Grid, plain
from kiti.training import building
from kiti.training.callbacks.similarity_monitor import SimilarityMonitor

CASES = {
    "FNO-1d, Burgers, 8 layers": ["experiment=burgers", "layers=fno"],
    "FNO-2d, Navier-Stokes, 8 layers": ["experiment=navier_stokes", "layers=fno"],
    "ResNet-18, FashionMNIST, classifier": ["experiment=fashion_ko", "layers=fc"],
    "ResNet-50, FashionMNIST, classifier": ["experiment=fashion_ko", "model.depth=50", "layers=fc"],
}
LAYERS = {"fno": [f"layers.{i}.{part}" for i in range(4) for part in ("conv", "w")], "fc": ["fc"]}
MOST_PERCENT = 1.0
EPOCHS = 4


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(benchmarking.parser(__doc__).parse_args(arguments), "callbacks", measure, grid)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    building.hush_lightning()
    names = benchmarking.selected(CASES, str, args)
    scale = "smoke" if args.quick else "laptop"
    cases = [measure_case(name, args, scale) for name in benchmarking.progress(names, "networks")]
    shares = [(case["case"], case["percent"]) for case in cases]
    marks: list[Mark] = [judge(f"under {MOST_PERCENT:g} % of a step", shares, at_most=MOST_PERCENT, unit=" %")]
    return benchmarking.record("callbacks", args, started, {"scale": scale, "epochs": EPOCHS}, cases, marks)


def measure_case(name: str, args: Namespace, scale: str) -> dict[str, Any]:
    *run, layers = CASES[name]
    monitor = SimilarityMonitor(LAYERS[layers.split("=")[1]], snapshots=[], each_epoch=True)
    profiler = SimpleProfiler()
    with tempfile.TemporaryDirectory() as folder:
        composed = compose([*run, f"scale={scale}", f"runs_dir={folder}", f"trainer.max_epochs={EPOCHS}"])
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = pl.Trainer(
            accelerator=args.device.type,
            devices=1,
            max_epochs=EPOCHS,
            limit_val_batches=0,
            enable_model_summary=False,
            callbacks=[monitor],
            profiler=profiler,
            use_distributed_sampler=False,
            **quiet,
        )
        try:
            trainer.fit(building.task(composed), building.data(composed))
        except DataError as error:
            raise Unusable(f"{name}: {error}") from error
    batches = profiler.recorded_durations["run_training_batch"]
    [watching] = [
        seconds
        for action, seconds in profiler.recorded_durations.items()
        if SimilarityMonitor.__name__ in action and action.endswith("on_train_epoch_end")
    ]
    steps = len(batches) // EPOCHS
    # The first epoch is a warm-up.
    epochs = [sum(batches[i * steps : (i + 1) * steps]) for i in range(1, EPOCHS)]
    return {
        "case": name,
        "steps_an_epoch": steps,
        "epoch": _summary(epochs),
        "callback": _summary(watching[1:]),
        "percent": 100 * statistics.median(watching[1:]) / statistics.median(epochs),
    }


def _summary(seconds: Sequence[float]) -> dict[str, float | int]:
    return {
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "runs": len(seconds),
    }


def grid(record: dict[str, Any]) -> Grid:
    """A line for each network."""
    header = [
        "network, layers followed",
        "steps an epoch",
        "steps of an epoch, ms",
        "callback, ms",
        "share of a step, %",
    ]
    lines = [
        [
            case["case"],
            str(case["steps_an_epoch"]),
            timing_text(case["epoch"]),
            timing_text(case["callback"]),
            plain(case["percent"], 2),
        ]
        for case in record["cases"]
    ]
    notes = [
        "ρ and the largest |cos| of every layer named, once an epoch; median (least…most) of epochs after the first",
        f"scale {record['settings']['scale']}",
        benchmarking.provenance(record),
    ]
    return Grid("What following neurons costs", header, lines, notes)


if __name__ == "__main__":
    main()
