"""Burgers' equation, generated as in F.1: learn u0 ↦ u(·, 1)."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from kiti.data.generated import GeneratedData, stream
from kiti.data.generation_progress import progress_report
from kiti.data.operator_pairs import OperatorPairs, Pair, check_resolution, subsample
from kiti.data.trivial.trivial_functions import predicted_functions
from kiti.pde.burgers_solver import DEFAULT_STEPS, INITIAL_CONDITIONS, SOLVER_VERSION, solve_burgers


class BurgersData(OperatorPairs, GeneratedData):
    """Pairs (u0, u(·, time)) of u_t + (u²/2)_x = ν u_xx, periodic, u0 ~ N(0, 625 (−Δ + 25 I)^−2).

    Solved in float64 on `grid` points, subsampled to `resolution`, stored as float32 in `data_dir` (verified on every
    read, generated if missing: about ten seconds for the defaults on one core).

    Args:
        data_dir: root of the cache.
        n_train, n_test: sample counts (1000 and 100 in the FNO code).
        resolution: points the network trains on; ValueError unless it divides `grid`.
        grid: points of the solver.
        viscosity, time: ν and the time of the output.
        steps: time steps of the solver.
        data_seed: key of the samples.
        draw: "fixed": all seeds see the same samples; "per_seed": each has its own, for training and for testing.
        test_resolution: points the network is tested on; None: `resolution`.
        progress: called as progress(done, total) while generating, instead of a progress bar.
        batch_size, eval_batch_size, seed: as for OperatorPairs.
    """

    name = "burgers"

    def __init__(
        self,
        data_dir: Path | str,
        n_train: int = 1000,
        n_test: int = 100,
        resolution: int = 1024,
        grid: int = 8192,
        viscosity: float = 0.1,
        time: float = 1.0,
        steps: int = DEFAULT_STEPS,
        data_seed: int = 0,
        batch_size: int = 20,
        eval_batch_size: int = 100,
        seed: int = 0,
        test_resolution: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        draw: str = "fixed",
    ) -> None:
        super().__init__(n_train, n_test, resolution, test_resolution, batch_size, eval_batch_size, seed)
        check_resolution(grid, self.resolution)
        check_resolution(grid, self.test_resolution)
        self.data_dir = Path(data_dir)
        self.grid = grid
        self.viscosity = viscosity
        self.time = time
        self.steps = steps
        self.data_seed = data_seed
        self.draw = draw
        self.progress = progress

    def recipe(self, split: str) -> dict[str, Any]:
        """Everything that determines the pairs of `split`: the cache key."""
        return {
            "equation": "u_t + (u^2/2)_x = viscosity u_xx on the unit circle",
            "initial": asdict(INITIAL_CONDITIONS),
            "solver": "pseudospectral ETDRK4, 2/3 rule, steps quadratic in time",
            "solver_version": SOLVER_VERSION,
            "viscosity": float(self.viscosity),
            "time": float(self.time),
            "steps": self.steps,
            "grid": self.grid,
            "resolution": self.resolution if split == "train" else self.test_resolution,
            "samples": self.n_train if split == "train" else self.n_test,
            "stream": stream(self.draw, self.data_seed, self.seed, split),
        }

    def generate(self, recipe: dict[str, Any], split: str) -> dict[str, Tensor]:
        u0 = INITIAL_CONDITIONS.sample(self.grid, recipe["stream"], range(recipe["samples"]))  # (n, grid)
        if self.progress is not None:
            u = solve_burgers(u0, self.viscosity, self.time, self.steps, self.progress)
        else:
            with progress_report(f"Burgers, {len(u0)} {split} samples") as report:
                u = solve_burgers(u0, self.viscosity, self.time, self.steps, report)
        return {
            "u0": subsample(u0, recipe["resolution"]).float(),
            "u": subsample(u, recipe["resolution"]).float(),
        }

    def batch(self, tensors: dict[str, Tensor]) -> Pair:
        return tensors["u0"], tensors["u"]

    def trivial_predictions(self) -> dict[str, Pair]:
        (inputs, targets), (given, target), _ = self._data
        return {
            name: (found, target) for name, found in predicted_functions((inputs, targets), given, self.time).items()
        }
