"""Regression on what a teacher says, a network whose number of neurons decides whether condensing is right."""

import hashlib
import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kiti.data.in_memory import InMemoryData
from kiti.data.loading import Batch, EvaluationLoader, ResumableLoader, clock_of, evaluation_loader, of_ranks
from kiti.data.trivial.trivial_points import predicted_points

_RECIPE = "ReLU teacher, unit vectors, signs alternate, unit variance; x ~ N(0, 1); torch CPU generator"


class Teacher:
    """f(x) = c Σ_k a_k relu(w_k · x), w_k uniform on the unit sphere, a_k = 1, −1, 1, …; c such that Var f = 1.

    The variance is that over x ~ N(0, I). For unit vectors at an angle θ

        E[relu(u · x) relu(v · x)] = (sin θ + (π − θ) cos θ) / 2π,   E[relu(u · x)] = 1 / √2π.

    Args:
        neurons: how many.
        d: number of inputs.
        draw: gives w_k.
    """

    def __init__(self, neurons: int, d: int, draw: torch.Generator) -> None:
        rows = torch.randn(neurons, d, generator=draw, dtype=torch.float64)
        self.directions: Float[Tensor, "k d"] = rows / rows.norm(dim=1, keepdim=True)
        self.signs: Float[Tensor, " k"] = 1.0 - 2.0 * (torch.arange(neurons) % 2).double()
        cosines = (self.directions @ self.directions.T).clamp(-1, 1)
        angles = cosines.arccos()
        moments = (angles.sin() + (math.pi - angles) * cosines) / (2 * math.pi)
        variance = self.signs @ (moments - 1 / (2 * math.pi)) @ self.signs
        self.scale = float(variance) ** -0.5

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        return (self.scale * torch.relu(x.double() @ self.directions.T) @ self.signs).to(x.dtype)


class WholeLoader(ResumableLoader):
    """All samples as one batch, `steps` times an epoch."""

    def __init__(self, tensors: Batch, steps: int, **order: Any) -> None:
        super().__init__(tensors, len(tensors[0]), **order)
        self.size = steps * self.batch_size

    def order(self, epoch: int) -> Int64[Tensor, "n"]:
        return torch.arange(self.size) % self.batch_size


class TeacherStudentData(InMemoryData):
    """(x, y) of shapes (n, replicas, d) and (n, replicas): each replica has its own teacher, points and noise.

    x ~ N(0, I). Targets for training and validation are f(x) + noise · N(0, 1); those of the test set are f(x).

    Args:
        n_train, n_validation, n_test: number of points per replica.
        d: number of inputs.
        teacher_neurons: of the `Teacher`.
        noise: standard deviation, where f has standard deviation 1.
        steps: of training in an epoch, each on all points; after an epoch the validation set is measured.
        batch_size: must be n_train.
        seed, replicas: replica r draws from seed + r.
    """

    def __init__(
        self,
        n_train: int,
        n_validation: int,
        n_test: int,
        d: int,
        teacher_neurons: int,
        noise: float,
        steps: int,
        batch_size: int,
        *,
        seed: int,
        replicas: int = 1,
    ) -> None:
        super().__init__(n_train, n_test, batch_size, eval_batch_size=n_test, seed=seed)
        self.n_validation = n_validation
        self.d = d
        self.teacher_neurons = teacher_neurons
        self.noise = noise
        self.steps = steps
        self.replicas = replicas
        self._validation: Batch | None = None

    @property
    def recipe_fingerprint(self) -> str:
        sizes = (self.n_train, self.n_validation, self.n_test, self.d, self.teacher_neurons, self.noise)
        return hashlib.sha256(f"{_RECIPE}; {sizes}".encode()).hexdigest()

    @property
    def fingerprint(self) -> dict[str, Any]:
        split = {"train": self.n_train, "validation": self.n_validation, "test": self.n_test}
        return super().fingerprint | {"split": split}

    def fingerprint_of(self, replica: int) -> dict[str, Any]:
        return self.fingerprint | {"content": self._content(replica)}

    def load(self) -> tuple[Batch, Batch, str]:
        each = [self._drawn(self.seed + replica) for replica in range(self.replicas)]
        x, y = (torch.stack([one[place] for one in each], dim=1) for place in (0, 1))
        sizes = [self.n_train, self.n_validation, self.n_test]
        train, self._validation, test = zip(x.split(sizes), y.split(sizes), strict=True)
        return train, test, self._content(0)

    def train_dataloader(self) -> ResumableLoader:
        clock = clock_of(self.trainer)
        return WholeLoader(self._data[0], self.steps, seed=self.seed, clock=clock, **of_ranks(self.trainer))

    def val_dataloader(self) -> EvaluationLoader:
        self.setup()
        assert self._validation is not None
        return evaluation_loader(self._validation, self.eval_batch_size, trainer=self.trainer)

    def trivial_predictions(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The mean of the training targets, and ridge regression; of each replica on its own points."""
        (x, y), (given, truth), _ = self._data
        return predicted_points(x, y, given, truth)

    def _drawn(self, seed: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """Points and targets: of training, then of validation, then of the test."""
        draw = torch.Generator().manual_seed(seed)
        teacher = Teacher(self.teacher_neurons, self.d, draw)
        noisy = self.n_train + self.n_validation
        noise = self.noise * torch.randn(noisy, generator=draw)
        x = torch.randn(noisy + self.n_test, self.d, generator=draw)
        y = teacher(x)
        y[:noisy] += noise
        return x, y

    def _content(self, replica: int) -> str:
        x, y = self._drawn(self.seed + replica)
        return hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()
