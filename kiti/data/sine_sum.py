"""Both papers' synthetic regression: y = Σ_k 3.5 sin(5 x_k + 1), x uniform in [-4, 2]^5."""

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.data.in_memory import InMemoryData
from kiti.data.loading import Batch
from kiti.data.trivial.trivial_points import predicted_points

_LOW, _HIGH = -4.0, 2.0
_RECIPE = "sum of 3.5 sin(5 x + 1), x uniform in [-4, 2]; torch CPU generator, points of training then of testing"


def target(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """Σ_k 3.5 sin(5 x_k + 1)."""
    return (3.5 * torch.sin(5 * x + 1)).sum(-1)


class SineSumData(InMemoryData):
    """(x, y) of shapes (n, replicas, d) and (n, replicas): each replica has its own points, drawn with its seed.

    Args:
        n_train, n_test, batch_size: number of points per replica.
        d: number of inputs.
        seed, replicas: replica r draws its points from seed + r.
    """

    def __init__(self, n_train: int, n_test: int, d: int, batch_size: int, *, seed: int, replicas: int = 1) -> None:
        super().__init__(n_train, n_test, batch_size, eval_batch_size=n_test, seed=seed)
        self.d = d
        self.replicas = replicas

    @property
    def recipe_fingerprint(self) -> str:
        return hashlib.sha256(f"{_RECIPE}; d={self.d}, {self.n_train} and {self.n_test}".encode()).hexdigest()

    def load(self) -> tuple[Batch, Batch, str]:
        points = torch.stack([self._points(self.seed + replica) for replica in range(self.replicas)], dim=1)
        train, test = points.split([self.n_train, self.n_test])
        return (train, target(train)), (test, target(test)), self._content(0)

    def trivial_predictions(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The mean of the training targets, and ridge regression; of each replica on its own points."""
        (x, y), (given, truth), _ = self._data
        return predicted_points(x, y, given, truth)

    def fingerprint_of(self, replica: int) -> dict[str, Any]:
        return self.fingerprint | {"content": self._content(replica)}

    def _content(self, replica: int) -> str:
        return hashlib.sha256(self._points(self.seed + replica).numpy().tobytes()).hexdigest()

    def _points(self, seed: int) -> Float[Tensor, "n d"]:
        draw = torch.Generator().manual_seed(seed)
        return torch.rand(self.n_train + self.n_test, self.d, generator=draw) * (_HIGH - _LOW) + _LOW
