"""Time-dependent fields on the unit torus: predict later frames from earlier ones (KITINet F.2, F.3)."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from kiti.data.generated import GeneratedData, stream
from kiti.data.generation_progress import progress_report
from kiti.data.operator_pairs import OperatorPairs, Pair, check_resolution
from kiti.data.trivial.trivial_frames import Frames, predicted_frames
from kiti.pde.gaussian_field import PeriodicGaussianField

Report = Callable[[int, int], None]
# Samples solved together.
_TOGETHER = 50


class TorusFrames(OperatorPairs, GeneratedData):
    """Pairs (frames 1 … frames_in, frames frames_in + 1 … frames_in + frames_out), one time unit apart.

    Batches are float32, (B, frames_in, S, S) and (B, frames_out, S, S). Solved in float64 on `grid`² points; every
    (grid / resolution)-th point of each axis is stored in `data_dir`, verified on every read, generated if missing.

    Args:
        data_dir: root of the cache.
        n_train, n_test: sample counts.
        grid: points of the solver along each axis.
        resolution, test_resolution: of the training and the test frames; ValueError unless they divide `grid`.
        frames_in, frames_out: number of given frames, and of frames to predict.
        data_seed: key of the samples.
        draw: "fixed": all seeds see the same samples; "per_seed": each has its own, for training and for testing.
        progress: called as progress(done, total) while generating, instead of a progress bar.
        batch_size, eval_batch_size, seed: as for OperatorPairs.
    """

    initial: PeriodicGaussianField

    def __init__(
        self,
        data_dir: Path | str,
        n_train: int = 1000,
        n_test: int = 200,
        grid: int = 256,
        resolution: int = 32,
        test_resolution: int | None = 64,
        frames_in: int = 10,
        frames_out: int = 40,
        data_seed: int = 0,
        batch_size: int = 20,
        eval_batch_size: int = 20,
        seed: int = 0,
        progress: Report | None = None,
        draw: str = "fixed",
    ) -> None:
        super().__init__(n_train, n_test, resolution, test_resolution, batch_size, eval_batch_size, seed)
        for points in (self.resolution, self.test_resolution):
            check_resolution(grid, points)
        self.data_dir = Path(data_dir)
        self.grid = grid
        self.frames_in = frames_in
        self.frames_out = frames_out
        self.data_seed = data_seed
        self.draw = draw
        self.progress = progress

    @abstractmethod
    def equation(self) -> dict[str, Any]:
        """Everything that determines a solution, except initial field and grid."""

    @abstractmethod
    def solve(
        self, u0: Float64[Tensor, "n grid grid"], times: list[float], every: int
    ) -> Float64[Tensor, "n frames kept kept"]:
        """The field at these times, at every `every`-th point."""

    def recipe(self, split: str) -> dict[str, Any]:
        """Everything that determines the frames of `split`: the cache key."""
        return {
            **self.equation(),
            "initial": asdict(self.initial),
            "grid": self.grid,
            "resolution": self.resolution if split == "train" else self.test_resolution,
            "frames": self.frames_in + self.frames_out,
            "samples": self.n_train if split == "train" else self.n_test,
            "stream": stream(self.draw, self.data_seed, self.seed, split),
        }

    def generate(self, recipe: dict[str, Any], split: str) -> dict[str, Tensor]:
        if self.progress is not None:
            return {"frames": self._frames(recipe, self.progress)}
        with progress_report(f"{self.name}, {recipe['samples']} {split} samples") as report:
            return {"frames": self._frames(recipe, report)}

    def _frames(self, recipe: dict[str, Any], report: Report) -> Tensor:
        """Solve in chunks: initial fields and their modes need far more memory than the stored frames."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        times = [float(t) for t in range(1, recipe["frames"] + 1)]
        every = self.grid // recipe["resolution"]
        parts = []
        for samples in torch.arange(recipe["samples"]).split(_TOGETHER):
            u0 = self.initial.sample(self.grid, recipe["stream"], samples.tolist()).to(device)  # (n, grid, grid)
            parts.append(self.solve(u0, times, every).float().cpu())
            report(int(samples[-1]) + 1, recipe["samples"])
        return torch.cat(parts)

    def batch(self, tensors: dict[str, Tensor]) -> Pair:
        frames = tensors["frames"]
        return frames[:, : self.frames_in].contiguous(), frames[:, self.frames_in :].contiguous()

    def predicted(self, train: Pair, given: Frames) -> dict[str, Frames]:
        """The frames after `given`, by predictor without a network."""
        return predicted_frames(train, given)

    def trivial_predictions(self) -> dict[str, Pair]:
        (inputs, targets), (given, target), _ = self._data
        return {name: (found, target) for name, found in self.predicted((inputs, targets), given).items()}
