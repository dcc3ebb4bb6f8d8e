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
# Of samples that are drawn for each seed: no seed's stream is the one that all seeds see.
STREAM_OF_SEED = {"train": 2, "test": 3}
DRAWS = ("fixed", "per_seed")


def stream(draw: str, data_seed: int, seed: int, split: str) -> list[int]:
    """The key of a set's samples: the same for all seeds of a run, or with draw="per_seed" one for each.

    ValueError for any other `draw`.
    """
    if draw not in DRAWS:
        raise ValueError(f"draw={draw!r}: must be one of {', '.join(map(repr, DRAWS))}")
    return [data_seed, STREAM[split]] if draw == "fixed" else [data_seed, STREAM_OF_SEED[split], seed]


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
