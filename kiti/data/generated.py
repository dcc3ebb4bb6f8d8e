"""Samples computed from a recipe and kept in the verified cache."""

import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import Any

from torch import Tensor

from kiti.data.cache import Artefact, materialise, recipe_fingerprint
from kiti.data.in_memory import InMemoryData
from kiti.data.loading import Batch

# The two sets are separate streams of samples. So the test set does not change with `n_train`, and a smaller set
# consists of the first samples of a larger one.
STREAM = {"train": 0, "test": 1}


class GeneratedData(InMemoryData):
    """A subclass defines the recipe of a set of samples, how to compute it, and which of its tensors form a batch.

    Computed data is stored in `data_dir`, in the folder `name`; it is verified on every read, generated if missing.
    """

    name: str
    data_dir: Path

    @abstractmethod
    def recipe(self, split: str) -> dict[str, Any]:
        """Everything that determines the samples of `split`, "train" or "test": the cache key."""

    @abstractmethod
    def generate(self, recipe: dict[str, Any], split: str) -> dict[str, Tensor]:
        """The tensors to store."""

    @abstractmethod
    def batch(self, tensors: dict[str, Tensor]) -> Batch:
        """All samples of a set as one batch, from the stored tensors."""

    def prepare_data(self) -> None:
        for split in STREAM:
            self._artefact(split)

    def load(self) -> tuple[Batch, Batch, str]:
        train, test = self._artefact("train"), self._artefact("test")
        content = hashlib.sha256(f"{train.content_sha256}\n{test.content_sha256}\n".encode()).hexdigest()
        return self.batch(train.tensors), self.batch(test.tensors), content

    @property
    def recipe_fingerprint(self) -> str:
        return recipe_fingerprint({split: self.recipe(split) for split in STREAM})

    def _artefact(self, split: str) -> Artefact:
        recipe = self.recipe(split)
        return materialise(self.data_dir, self.name, recipe, lambda: self.generate(recipe, split))
