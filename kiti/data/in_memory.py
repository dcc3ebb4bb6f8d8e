"""Data sets that fit in memory."""

from abc import abstractmethod
from typing import Any

from kiti.data import DataError
from kiti.data.data_module import Data
from kiti.data.loading import Batch, EvaluationLoader, ResumableLoader, evaluation_loader, training_loader


class InMemoryData(Data):
    """A subclass implements `load`.

    Args:
        n_train, n_test: samples in each set.
        batch_size, eval_batch_size, seed: as for Data.
    """

    @property
    def recipe_fingerprint(self) -> str | None:
        """sha256 of everything that determines computed data; None for data that was measured or downloaded."""
        return None

    def __init__(self, n_train: int, n_test: int, batch_size: int, eval_batch_size: int, seed: int) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        self.n_train = n_train
        self.n_test = n_test
        self._loaded: tuple[Batch, Batch, str] | None = None

    @abstractmethod
    def load(self) -> tuple[Batch, Batch, str]:
        """The training samples, the test samples, and the sha256 of their source.

        `setup` raises DataError if there are not exactly `n_train` and `n_test` samples.
        """

    def setup(self, stage: str | None = None) -> None:
        if self._loaded is None:
            loaded = self.load()
            for name, wanted, samples in (("n_train", self.n_train, loaded[0]), ("n_test", self.n_test, loaded[1])):
                if len(samples[0]) != wanted:
                    raise DataError(f"data.{name}={wanted}: the set has {len(samples[0])}; choose at most that many")
            self._loaded = loaded

    @property
    def fingerprint(self) -> dict[str, Any]:
        split = {"train": self.n_train, "test": self.n_test}
        return {"content": self._data[2], "recipe": self.recipe_fingerprint, "split": split}

    def train_dataloader(self) -> ResumableLoader:
        return training_loader(self._data[0], self.batch_size, seed=self.seed, trainer=self.trainer)

    def train_eval_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(self._data[0], self.eval_batch_size, trainer=self.trainer)

    def test_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(self._data[1], self.eval_batch_size, trainer=self.trainer)

    @property
    def _data(self) -> tuple[Batch, Batch, str]:
        self.setup()
        assert self._loaded is not None
        return self._loaded
