"""Batches of images that are read, augmented and collated by worker processes."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kiti.data import DataError
from kiti.data.image_source import ImageSource
from kiti.data.loading import Batch, EpochLoader, OrderedLoader, epoch_order

Item = tuple[int, int, int]
"""Which image, and the epoch and position that key its augmentation."""

Transform = Callable[[Image.Image], Tensor]


@contextmanager
def drawing_from(*key: int) -> Iterator[None]:
    """Within, Python's, numpy's and torch's CPU generators start from `key`; afterwards they are as before."""
    first, second, third = np.random.SeedSequence(key).generate_state(3).tolist()
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # what timm's transforms draw from
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
    """(image (3, Y, X), label) by Item. Its augmentation is a function of (seed, epoch, position) and nothing else, so
    that neither the number of workers nor a stop in between changes it."""

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


class _Plan:
    """The batches that are read next; a DataLoader asks for them anew each time it is iterated."""

    batches: Iterable[list[Item]] = ()

    def __iter__(self) -> Iterator[list[Item]]:
        return iter(self.batches)


class Reader:
    """Reads batches of `samples`, by `workers` processes that are started once; 0: by this one."""

    def __init__(self, samples: Samples, workers: int) -> None:
        self._plan = _Plan()
        self._loader: DataLoader[Any] = DataLoader(
            samples,
            batch_sampler=self._plan,  # type: ignore[arg-type]  # iterating is all that is asked of it
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else it would draw from the global one at each start
        )

    def read(self, batches: Iterable[list[Item]]) -> Iterator[Batch]:
        """(images (B, 3, Y, X), labels (B,)) for each list of items, in order. DataError as the source raises it."""
        self._plan.batches = batches
        try:
            for batch in self._loader:
                yield tuple(batch)
        except DataError as error:  # a worker's comes with its whole trace as the message
            raise DataError(str(error).strip().splitlines()[-1].removeprefix("kiti.data.DataError: ")) from error


class ImageLoader(EpochLoader):
    """Shuffled, augmented batches; the last, partial one is dropped, as timm does, whose Mixup needs pairs.

    With `repeats` (repeated augmentation) the order names each image so many times in a row, augmented differently,
    and ends with as many samples as there are images: an epoch shows one in `repeats` of them. Rank r of W takes every
    W-th sample of a global batch, from the r-th on, so that an image's repeats are on different ranks: just what
    timm's RepeatAugSampler hands out, for batches that 256 divides.

    Args:
        samples: what is read.
        batch_size: samples per step over all ranks; DataError if there are fewer images.
        repeats: how many times an image is seen in an epoch that shows it.
        workers: processes that read.
        order: seed, rank, world_size and clock, as for EpochLoader.
    """

    def __init__(self, samples: Samples, batch_size: int, *, repeats: int = 1, workers: int = 0, **order: Any) -> None:
        super().__init__(len(samples), batch_size, **order)
        if self.size < batch_size:
            raise DataError(f"batch_size {batch_size} is more than the {self.size} images there are")
        self.repeats = repeats
        self._reader = Reader(samples, workers)

    def __len__(self) -> int:
        return self.size // self.batch_size

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        return self._reader.read(self.plan(epoch, first))

    def plan(self, epoch: int, first: int) -> Iterator[list[Item]]:
        """The items of this rank's batches from the `first` on; positions count samples over all ranks."""
        order = epoch_order(self.size, self.seed, epoch).repeat_interleave(self.repeats)[: self.size].tolist()
        for start in range(first * self.batch_size, len(self) * self.batch_size, self.batch_size):
            positions = range(start + self.rank, start + self.batch_size, self.world_size)
            yield [(order[position], epoch, position) for position in positions]

    def _order_key(self) -> dict[str, int]:
        return super()._order_key() | {"repeats": self.repeats}


class ImageEvaluationLoader(OrderedLoader):
    """An OrderedLoader of the images of `which`.

    Args:
        which: numbers of images, in their order; None is all of them.
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
