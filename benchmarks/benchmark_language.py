"""Training language models in kiti's loop, in litgpt's and in nanoGPT's own, and KITI against vanilla in kiti's.

    python -m benchmarks.benchmark_language --litgpt PYTHON --nanogpt DIR --threads 1 \\
        --json experiments/benchmarks/language.cpu.json --markdown experiments/benchmarks/language.cpu.md
    python -m benchmarks.benchmark_language --litgpt PYTHON --nanogpt DIR --device cuda

PYTHON is an interpreter with litgpt (0.5.13), which trains a Qwen2; DIR is an unmodified clone of nanoGPT, which trains
a GPT-2. Without them their cases are left out. All train the same sizes with AdamW, with clipping and weight decay, on
random tokens. On a CPU the models are those of the stand-ins, on a GPU they have 124 million parameters, and each
competitor is also compared with both models compiled. A round starts each loop once, anew.
"""

import math
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import benchmarking, language_loops
from benchmarks.benchmarking import Mark, Unusable, judge, timing_text
from benchmarks.language_loops import Setup, Started
from benchmarks.measuring import Ratio, Timing, paired_ratio
from kiti.calibration.any_model import calibrate
from kiti.report.formats import NOTHING, Grid
from kiti.training import building

SIZES = {
    ("gpt2", "quick"): {"vocab_size": 512, "width": 16, "layers": 2, "heads": 2, "ffn": 64},
    ("gpt2", "cpu"): {"vocab_size": 4096, "width": 192, "layers": 4, "heads": 6, "ffn": 768},
    ("gpt2", "cuda"): {"vocab_size": 50304, "width": 768, "layers": 12, "heads": 12, "ffn": 3072},
    ("qwen2", "quick"): {"vocab_size": 512, "width": 16, "layers": 2, "heads": 2, "kv_heads": 1, "ffn": 32},
    ("qwen2", "cpu"): {"vocab_size": 4096, "width": 192, "layers": 4, "heads": 6, "kv_heads": 2, "ffn": 512},
    ("qwen2", "cuda"): {"vocab_size": 50304, "width": 768, "layers": 12, "heads": 12, "kv_heads": 2, "ffn": 2496},
}
STEPS = {"quick": (2, 2, 16, 5), "cpu": (3, 8, 128, 20), "cuda": (10, 8, 1024, 40)}
"""Uncounted steps, batch, context, and all steps of a round."""
NAMES = {"gpt2": "GPT-2", "qwen2": "Qwen2"}

LEAST = 0.98  # mark: times as fast as the other loop
MOST_SLOWER = 1.05  # mark: KITI's seconds over vanilla's
LARGE = 100_000_000  # parameters of the models that the latter is about
WITHIN = 0.03  # half the interval of KITI's ratio, relative to it, at which rounds end


def main(arguments: Sequence[str] | None = None) -> None:
    parser = benchmarking.parser(__doc__)
    parser.set_defaults(repeats=9)
    parser.add_argument("--litgpt", metavar="PYTHON", help="an interpreter that has litgpt")
    parser.add_argument("--nanogpt", type=Path, metavar="DIR", help="an unmodified clone of nanoGPT")
    parser.add_argument("--most-rounds", type=int, default=40, metavar="N", help="of KITI against vanilla; default: 40")
    parser.add_argument("--collision-heads", type=int, metavar="N", help="KITI's; by default calibrate chooses")
    benchmarking.run(parser.parse_args(arguments), "language", measure, grid)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    building.hush_lightning()
    size = "quick" if args.quick else args.device.type
    commit = language_loops.require_clone(args.nanogpt) if args.nanogpt else None
    if args.litgpt:
        language_loops.require_python(args.litgpt)
    compiling = [False, True] if args.device.type == "cuda" else [False]
    cases = [
        *((f"{NAMES['qwen2']}{_compiled(on)}, litgpt", "qwen2", "litgpt", on) for on in compiling if args.litgpt),
        *((f"{NAMES['gpt2']}{_compiled(on)}, nanoGPT", "gpt2", "nanoGPT", on) for on in compiling if args.nanogpt),
        ("GPT-2, KITI", "gpt2", "KITI", False),
    ]
    chosen = benchmarking.selected(cases, lambda case: case[0], args)
    warm, batch, context, steps = STEPS[size]
    settings = {"batch": batch, "context": context, "steps": steps - warm, "warm": warm, "nanogpt": commit}
    settings |= {family: SIZES[family, size] for family in NAMES}
    measured = (measure_case(*case, size, args) for case in benchmarking.progress(chosen, "cases"))
    return benchmarking.gather("language", args, started, settings, measured, marks)


def _compiled(compiled: bool) -> str:
    return " compiled" if compiled else ""


def measure_case(name: str, family: str, other: str, compiled: bool, size: str, args: Namespace) -> dict[str, Any]:
    warm, batch, context, steps = STEPS[size]
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(
            *(family, SIZES[family, size], batch, context, warm, steps),
            *(args.device, args.threads, compiled, Path(folder)),
        )
        language_loops.random_corpus(setup.folder, setup.sizes["vocab_size"], steps * batch * context)
        config = language_loops.composed(setup)
        parameters = language_loops.parameters_of(building.model(config))
        data = building.data(config)
        data.prepare_alone()
        vanilla = lambda: language_loops.of_kiti(setup, config, data)  # noqa: E731
        more: dict[str, Any] = {}
        if other == "KITI":
            colliding = language_loops.composed(setup, "residual=kiti")
            found = calibrated(colliding, data, args)
            more["calibrated"] = [{"module": module, **setting._asdict()} for module, setting in found.items()]
            loops = {"KITI": lambda: language_loops.of_kiti(setup, colliding, data, found), "vanilla": vanilla}
            rounds = rounds_of(loops, args.repeats, args.repeats if args.quick else args.most_rounds, parameters)
        else:
            competitor: Callable[[], Started] = {
                "litgpt": lambda: language_loops.of_litgpt(setup, args.litgpt),
                "nanoGPT": lambda: language_loops.of_nanogpt(setup, args.nanogpt),
            }[other]
            # The competitor first, so that unequal models are seen before kiti trains.
            rounds = rounds_of({other: competitor, "kiti": vanilla}, args.repeats, args.repeats, parameters)
    medians = {loop: [[statistics.median(each.seconds)] for each in starts] for loop, starts in rounds.items()}
    timings = {loop: Timing(seconds) for loop, seconds in medians.items()}
    compared = paired_ratio(*timings.values())  # the other's seconds over kiti's; KITI's over vanilla's
    return {
        "case": name,
        "against": "vanilla" if other == "KITI" else other,
        "precision": "bfloat16 autocast" if args.device.type == "cuda" else "float32",
        "compiled": compiled,
        "parameters": parameters,
        "loops": [
            {
                "loop": loop,
                **timing.summary(),
                "tokens_per_second": batch * context / timing.median,
                "version": rounds[loop][0].version,
                "rounds_s": [seconds for [seconds] in medians[loop]],
            }
            for loop, timing in timings.items()
        ],
        "ratio": compared.ratio,
        "lowest": None if math.isnan(compared.lowest) else compared.lowest,
        "highest": None if math.isnan(compared.highest) else compared.highest,
        **more,
    }


def calibrated(config: Any, data: Any, args: Namespace) -> Any:
    """collision_heads and coll_coef of each seam, for about one pair a system, on a batch of the untrained model."""
    torch.manual_seed(0)
    model = building.model(config).to(args.device)
    data.trainer = None
    tokens = next(iter(data.train_dataloader()))[0].to(args.device)
    return calibrate(model, {"input_ids": tokens, "use_cache": False}, pairs=1.0, collision_heads=args.collision_heads)


def rounds_of(
    loops: Mapping[str, Callable[[], Started]], least: int, most: int, parameters: int
) -> dict[str, list[Started]]:
    """`least` rounds, and up to `most` until the interval of the ratio of both loops is narrow.

    Each starts all loops, in the opposite order of the round before. Unusable if a model has not `parameters`.
    """
    rounds: dict[str, list[Started]] = {loop: [] for loop in loops}
    order = list(loops)
    for done in range(1, most + 1):
        for loop in order:
            started = loops[loop]()
            if started.parameters != parameters:
                raise Unusable(
                    f"{loop}: its model has {started.parameters:,} parameters and kiti's {parameters:,}; "
                    "times of different models are not compared"
                )
            rounds[loop].append(started)
        order.reverse()
        medians = (Timing([[statistics.median(each.seconds)] for each in starts]) for starts in rounds.values())
        if done >= least and is_narrow(paired_ratio(*medians)):
            break
    return rounds


def is_narrow(found: Ratio) -> bool:
    return (found.highest - found.lowest) / 2 <= WITHIN * found.ratio  # False if there is no interval


def marks(cases: Sequence[Mapping[str, Any]]) -> list[Mark]:
    """The marks of issue 22."""

    def of(against: str) -> list[tuple[str, float | None]]:
        return [(case["case"], case["ratio"]) for case in cases if case["against"] == against]

    large = [(case["case"], case["ratio"]) for case in cases if case["against"] == "vanilla" and _is_large(case)]
    return [
        judge("a step at least 0.98 times as fast as litgpt's", of("litgpt"), at_least=LEAST),
        judge("a step at least 0.98 times as fast as nanoGPT's", of("nanoGPT"), at_least=LEAST),
        judge("KITI's step at most 1.05 times as long as vanilla's, 124M parameters", large, at_most=MOST_SLOWER),
    ]


def _is_large(case: Mapping[str, Any]) -> bool:
    return case["parameters"] >= LARGE


def grid(record: dict[str, Any]) -> Grid:
    """A line for each case and loop."""
    settings = record["settings"]
    lines = []
    for case in record["cases"]:
        for row in case["loops"]:
            version = f" {row['version']}" if row["version"] else ""
            shown = row["loop"] in ("kiti", "KITI")
            lines.append(
                [
                    case["case"],
                    case["precision"],
                    f"{case['parameters']:,}",
                    row["loop"] + version,
                    timing_text(row),
                    f"{row['tokens_per_second']:,.0f}",
                    str(row["runs"]),
                    _compared(case) if shown else NOTHING,
                ]
            )
    header = ["case", "precision", "parameters", "loop", "ms a step", "tokens/s", "rounds", "compared"]
    notes = [
        f"{settings['batch']} × {settings['context']} tokens a step, {settings['steps']} steps a round after "
        f"{settings['warm']} uncounted ones; a round starts each loop anew, in turns; ms: the round's median step, "
        "over rounds median (least…most); compared: within a round, median and 95 % interval",
        "AdamW, weight decay 0.1, gradients clipped at 1; torch's fused AdamW in kiti, in the other loops on a GPU "
        "alone, as they have it; embedding and head are one matrix in all; numbers of parameters are compared",
        "kiti: Lightning's trainer and memory-mapped tokens as a run has them, in the process of the benchmark; "
        "litgpt: its pretrain.main on tokens in memory, a step ends when it is logged; nanoGPT: its train.py, which "
        "prints the times, with the exact GELU where GPT-2 has the approximate one as transformers computes it",
        *(_calibrated(case) for case in record["cases"] if "calibrated" in case),
        benchmarking.provenance(record),
    ]
    return Grid(f"Training language models, {record['device']}", header, lines, notes)


def _compared(case: Mapping[str, Any]) -> str:
    interval = f" [{case['lowest']:.3f}, {case['highest']:.3f}]" if case["lowest"] is not None else ""
    how = "long" if case["against"] == "vanilla" else "fast"
    return f"{case['ratio']:.3f}{interval} times as {how} as {case['against']}"


def _calibrated(case: Mapping[str, Any]) -> str:
    found = [f"{each['collision_heads']}, {each['coll_coef']:.3g}" for each in case["calibrated"]]
    return f"KITI: after the attention of each layer, collision_heads and coll_coef: {'; '.join(found)}"


if __name__ == "__main__":
    main()
