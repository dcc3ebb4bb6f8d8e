"""Operator learning from pairs of functions that fit in memory, whatever they come from."""

from abc import abstractmethod
from typing import Any

from jaxtyping import Float32, Shaped
from pytorch_lightning import LightningDataModule
from torch import Tensor

from kiti.data.loading import EvaluationLoader, ResumableLoader, evaluation_loader, training_loader

Pair = tuple[Float32[Tensor, "_ ..."], Float32[Tensor, "_ ..."]]
"""Input and output functions, one row a sample."""


class OperatorPairs(LightningDataModule):
    """Pairs (input function, output function): for training, testing and measuring the training error.

    A subclass says in `load` where they come from. Batches are `(a, u)`, each float32 (B, resolution).

    Args:
        n_train, n_test: pairs in each set.
        resolution: grid points a function is given at.
        test_resolution: the same for testing; None for `resolution`.
        batch_size: training pairs per step over all ranks.
        eval_batch_size: the same for evaluation; changes no result.
        seed: key of the training order; None of the data depends on it.
    """

    stand_in: str | None = None
    """What the data stands in for, if it is not what the paper used."""

    @property
    def recipe_fingerprint(self) -> str | None:
        """sha256 of all that determines computed data; None for data that was measured or downloaded."""
        return None

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
        super().__init__()
        self.n_train = n_train
        self.n_test = n_test
        self.resolution = resolution
        self.test_resolution = resolution if test_resolution is None else test_resolution
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self._loaded: tuple[Pair, Pair, str] | None = None

    @abstractmethod
    def load(self) -> tuple[Pair, Pair, str]:
        """The training pairs, the test pairs, and the sha256 of what they were read from."""

    def setup(self, stage: str | None = None) -> None:
        if self._loaded is None:
            self._loaded = self.load()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What a record says of the data: sha256 of its content, and of its recipe if it was computed; the split."""
        split = {"train": self.n_train, "test": self.n_test}
        return {"content": self._data[2], "recipe": self.recipe_fingerprint, "split": split}

    def train_dataloader(self) -> ResumableLoader:
        return training_loader(self._data[0], self.batch_size, seed=self.seed, trainer=self.trainer)

    def train_eval_dataloader(self) -> EvaluationLoader:
        """The training pairs in order, once: the training error, with the model in eval mode."""
        return evaluation_loader(self._data[0], self.eval_batch_size, trainer=self.trainer)

    def test_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(self._data[1], self.eval_batch_size, trainer=self.trainer)

    @property
    def _data(self) -> tuple[Pair, Pair, str]:
        self.setup()
        assert self._loaded is not None
        return self._loaded


def check_resolution(grid: int, resolution: int) -> None:
    """ValueError unless `resolution` equally spaced points lie on a periodic grid of `grid` points."""
    if resolution < 1 or grid % resolution:
        raise ValueError(f"grid {grid} is not a multiple of resolution {resolution}")


def subsample(field: Shaped[Tensor, "sample grid"], resolution: int) -> Shaped[Tensor, "sample resolution"]:
    """Every (grid / resolution)-th point, from the first."""
    check_resolution(field.shape[1], resolution)
    return field[:, :: field.shape[1] // resolution].contiguous()
