"""Batches of images, read, augmented and collated by worker processes."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from kiti.data import DataError
from kiti.data.image_source import ImageSource
from kiti.data.loading import Batch, EpochLoader, OrderedLoader
from kiti.data.planned_reading import Reader

Item = tuple[int, int, int]
"""Which image, and the epoch and position that key its augmentation."""

Transform = Callable[[Image.Image], Tensor]


@contextmanager
def drawing_from(*key: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's CPU generators with `key`; on exit their previous states are restored."""
    first, second, third = np.random.SeedSequence(key).generate_state(3).tolist()
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # timm's transforms use it
    with torch.random.fork_rng(devices=[]):
        random.seed(first)
        np.random.seed(second)  # noqa: NPY002
        torch.default_generator.manual_seed(third)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002


class Samples(Dataset):
    """(image (3, Y, X), label) by Item. The augmentation depends only on (seed, epoch, position), so neither the number
    of workers nor an interruption changes it."""

    def __init__(self, source: ImageSource, transform: Transform, seed: int) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, item: Item) -> tuple[Tensor, int]:
        i, epoch, position = item
        image = self.source.read(i)
        with drawing_from(self.seed, epoch, position):
            return self.transform(image), int(self.source.labels[i])


class ImageLoader(EpochLoader):
    """Shuffled, augmented batches; the last, partial one is dropped, as in timm, because Mixup needs pairs.

    With `repeats` (repeated augmentation) each image comes `repeats` times in a row, with different augmentation. An
    epoch still has as many samples as there are images, so it shows one in `repeats` of them. Rank r of W takes every
    W-th sample of a global batch, starting at the r-th, so the repeats of an image are on different ranks. If 256
    divides the batch size, this is the order of timm's RepeatAugSampler.

    Args:
        samples: the data set to read.
        batch_size: samples per step over all ranks; DataError if there are fewer images.
        repeats: how often an image occurs in an epoch that shows it.
        workers: number of reading processes.
        order: seed, rank, world_size and clock, as for EpochLoader.
    """

    def __init__(self, samples: Samples, batch_size: int, *, repeats: int = 1, workers: int = 0, **order: Any) -> None:
        super().__init__(len(samples), batch_size, **order)
        if self.size < batch_size:
            raise DataError(f"batch_size {batch_size} exceeds the number of images, {self.size}")
        self.repeats = repeats
        self._reader = Reader(samples, workers)

    def __len__(self) -> int:
        return self.size // self.batch_size

    def order(self, epoch: int) -> Int64[Tensor, "n"]:
        return super().order(epoch).repeat_interleave(self.repeats)[: self.size]

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        return self._reader.read(self.plan(epoch, first))

    def plan(self, epoch: int, first: int) -> Iterator[list[Item]]:
        """The items of this rank's batches, starting at batch `first`; positions count samples over all ranks."""
        order = self.order(epoch).tolist()
        for start in range(first * self.batch_size, len(self) * self.batch_size, self.batch_size):
            positions = range(start + self.rank, start + self.batch_size, self.world_size)
            yield [(order[position], epoch, position) for position in positions]

    def _order_key(self) -> dict[str, int]:
        return super()._order_key() | {"repeats": self.repeats}


class ImageEvaluationLoader(OrderedLoader):
    """An OrderedLoader of the images in `which`.

    Args:
        which: indices of images, in order; None: all images.
        samples, batch_size, workers: as for ImageLoader.
        ranks: rank and world_size.
    """

    def __init__(
        self, samples: Samples, batch_size: int, *, which: Tensor | None = None, workers: int = 0, **ranks: int
    ) -> None:
        self.which = torch.arange(len(samples)) if which is None else which
        super().__init__(len(self.which), batch_size, **ranks)
        self._reader = Reader(samples, workers)

    def batches(self, shares: Sequence[Tensor]) -> Iterator[Batch]:
        return self._reader.read([(i, 0, i) for i in self.which[share].tolist()] for share in shares)
