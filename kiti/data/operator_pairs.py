"""Operator learning from pairs of functions on a uniform grid, from any source."""

from jaxtyping import Float32, Shaped
from torch import Tensor

from kiti.data.in_memory import InMemoryData

Pair = tuple[Float32[Tensor, "_ ..."], Float32[Tensor, "_ ..."]]
"""Input and output functions, one row per sample."""


class OperatorPairs(InMemoryData):
    """Pairs (input function, output function). Batches are `(a, u)`, each float32 (B, resolution).

    Args:
        resolution: grid points per function.
        test_resolution: the same for testing; None: `resolution`.
        n_train, n_test, batch_size, eval_batch_size, seed: as for InMemoryData.
    """

    def __init__(
        self,
        n_train: int,
        n_test: int,
        resolution: int,
        test_resolution: int | None,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(n_train, n_test, batch_size, eval_batch_size, seed)
        self.resolution = resolution
        self.test_resolution = resolution if test_resolution is None else test_resolution


def check_resolution(grid: int, resolution: int) -> None:
    """ValueError unless a periodic grid of `grid` points contains `resolution` equally spaced ones."""
    if resolution < 1 or grid % resolution:
        raise ValueError(f"grid {grid} is not a multiple of resolution {resolution}")


def subsample(field: Shaped[Tensor, "sample grid"], resolution: int) -> Shaped[Tensor, "sample resolution"]:
    """Every (grid / resolution)-th point, starting at the first."""
    check_resolution(field.shape[1], resolution)
    return field[:, :: field.shape[1] // resolution].contiguous()
