"""Our Navier-Stokes solver against the scheme of the FNO authors' generator, at equal accuracy.

    python -m benchmarks.benchmark_navier_stokes --json experiments/benchmarks/navier_stokes.cpu.json --markdown …

That scheme uses Crank-Nicolson for viscosity and explicit Euler steps of 1e-4 for convection. Both start from the same
developed flow of the paper, on the same modes. Ours takes the longest steps whose error is at most the other's, against
a solution with steps 1/8 of the shortest; its own step-size control is not used.
"""

import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Any

import torch
from torch import Tensor

from benchmarks import benchmarking, measuring
from benchmarks.benchmarking import timing_text
from kiti.pde.navier_stokes_solver import INITIAL_VORTICITY, paper_forcing, solve_navier_stokes
from kiti.report.formats import Grid

VISCOSITY = 1e-3
THEIR_STEP = 1e-4
MARK = "at least 10x faster than Crank-Nicolson with Euler's step of 1e-4 at equal accuracy"


@dataclass(frozen=True)
class Case:
    """Some flows on grid² points, solved over `time` after developing for `developed`."""

    grid: int
    samples: int
    time: float
    developed: float = 10.0

    @property
    def name(self) -> str:
        return f"grid={self.grid} samples={self.samples}"


CASES = (Case(64, 1, 0.5), Case(64, 8, 0.5), Case(256, 1, 0.1))
QUICK_CASES = (Case(16, 2, 0.02, developed=1.0),)


def main(arguments: Sequence[str] | None = None) -> None:
    benchmarking.run(parse(arguments), "navier_stokes", measure, grid)


def parse(arguments: Sequence[str] | None) -> Namespace:
    parser = benchmarking.parser(__doc__)
    parser.add_argument("--case-seconds", type=float, default=60.0, help="start no new round after this time")
    return parser.parse_args(arguments)


def measure(args: Namespace) -> dict[str, Any]:
    started = time.time()
    cases = benchmarking.selected(QUICK_CASES if args.quick else CASES, lambda case: case.name, args)
    rows = [measure_case(case, args) for case in benchmarking.progress(cases, "Navier-Stokes")]
    device = args.device.type
    mark = benchmarking.judge(f"{device}: {MARK}", [(row["case"], row["times_faster"]) for row in rows], at_least=10)
    settings = {"viscosity": VISCOSITY, "their_step": THEIR_STEP}
    return benchmarking.record("navier_stokes", args, started, settings, rows, [mark])


def measure_case(case: Case, args: Namespace) -> dict[str, Any]:
    forcing = paper_forcing(case.grid, args.device)
    w0 = INITIAL_VORTICITY.sample(case.grid, (0,), range(case.samples)).to(args.device)
    w0 = solve_navier_stokes(w0, VISCOSITY, [case.developed], forcing)[:, 0]

    def ours(steps: int) -> Tensor:
        return solve_navier_stokes(
            w0, VISCOSITY, [case.time], forcing, courant=torch.inf, longest_step=case.time / steps
        )[:, 0]

    tried = (1, 2, 4, 8, 16, 32, 64, 128)
    exact = ours(8 * tried[-1])

    def error(found: Tensor) -> float:
        return float(((found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).max())

    theirs = error(crank_nicolson(w0, forcing, case.time))
    reached = {steps: error(ours(steps)) for steps in tried}
    enough = [steps for steps in tried if reached[steps] <= theirs]
    if not enough:
        raise benchmarking.Unusable(
            f"{case.name}: no number of steps up to {tried[-1]} reaches an error of {theirs:.1e}"
        )
    calls = {"theirs": lambda: crank_nicolson(w0, forcing, case.time), "ours": lambda: ours(enough[0])}
    timings = measuring.interleaved(calls, args.device, rounds=args.repeats, budget=args.case_seconds)
    faster = measuring.ratio(timings["theirs"], timings["ours"])
    return {
        "case": case.name,
        "grid": case.grid,
        "samples": case.samples,
        "time": case.time,
        "their_steps": round(case.time / THEIR_STEP),
        "our_steps": enough[0],
        "their_error": theirs,
        "our_error": reached[enough[0]],
        "theirs": timings["theirs"].summary(),
        "ours": timings["ours"].summary(),
        "times_faster": faster.ratio,
        "times_faster_lowest": faster.lowest,
        "times_faster_highest": faster.highest,
    }


def crank_nicolson(w0: Tensor, forcing: Tensor, until: float) -> Tensor:
    """w_t + u·∇w = ν Δw + f with steps of THEIR_STEP, the 2/3 rule, and five transforms per step."""
    points, h = w0.shape[-1], THEIR_STEP
    k1 = torch.fft.fftfreq(points, 1 / points, dtype=w0.dtype, device=w0.device)[:, None]
    k2 = torch.fft.rfftfreq(points, 1 / points, dtype=w0.dtype, device=w0.device)
    kept = (k1.abs() < points / 3) & (k2 < points / 3)
    d1, d2 = 2j * pi * k1, 2j * pi * k2
    squares = (2 * pi) ** 2 * (k1**2 + k2**2)
    inverse = torch.where(squares > 0, 1 / torch.where(squares > 0, squares, 1), 0)
    fields = torch.stack([d2 * inverse, -d1 * inverse, d1.expand_as(inverse), d2.expand_as(inverse)])[:, None]
    before, after = kept * (1 - h / 2 * VISCOSITY * squares), 1 / (1 + h / 2 * VISCOSITY * squares)
    source = h * torch.fft.rfft2(forcing)
    w_hat = kept * torch.fft.rfft2(w0)
    for _ in range(round(until / h)):
        u1, u2, w1, w2 = torch.fft.irfft2(fields * w_hat, s=(points, points))
        convection = torch.fft.rfft2(u1 * w1 + u2 * w2)
        w_hat = after * (before * w_hat + kept * (source - h * convection))
    return torch.fft.irfft2(w_hat, s=(points, points))


def grid(record: dict[str, Any]) -> Grid:
    header = ["grid", "samples", "time", "steps (theirs)", "error (theirs)", "ms", "theirs, ms", "times faster"]
    lines = [
        [
            str(case["grid"]),
            str(case["samples"]),
            f"{case['time']:g}",
            f"{case['our_steps']} ({case['their_steps']})",
            f"{case['our_error']:.1e} ({case['their_error']:.1e})",
            timing_text(case["ours"]),
            timing_text(case["theirs"]),
            f"{case['times_faster']:.3g} ({case['times_faster_lowest']:.3g}…{case['times_faster_highest']:.3g})",
        ]
        for case in record["cases"]
    ]
    settings = record["settings"]
    notes = [
        f"viscosity {settings['viscosity']:g}, the paper's forcing, flows developed before; float64; median "
        "(least…most) of interleaved runs; times faster: ratio of the medians (least…most within a round)",
        f"theirs: Crank-Nicolson for viscosity, Euler's step of {settings['their_step']:g} for convection, as in "
        "the FNO authors' generator; ours: the fewest of 1, 2, 4, … steps whose error is not larger",
        "error: relative L2 of the worst sample, against steps 1/8 of the shortest tried",
        benchmarking.provenance(record),
    ]
    return Grid(f"Navier-Stokes at equal accuracy, {record['device']}", header, lines, notes)


if __name__ == "__main__":
    main()
