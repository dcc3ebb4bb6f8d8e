"""Batch loaders that resume in the middle of an epoch and shard without duplicates; those of tensors in memory."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from pytorch_lightning import Trainer
from torch import Tensor

from kiti.data import DataError
from kiti.data.augmentation import Augmentation

Batch = tuple[Tensor, ...]
Prepare = Callable[[Batch], Batch]
"""Applied to every batch on its device, for example normalisation."""


def training_loader(
    tensors: Sequence[Tensor],
    batch_size: int,
    *,
    seed: int,
    trainer: Trainer | None = None,
    prepare: Prepare | None = None,
    augmentation: Augmentation | None = None,
) -> "ResumableLoader":
    """A ResumableLoader with the trainer's rank and world size; it counts batches as the trainer does."""
    order = {"seed": seed, "clock": clock_of(trainer), **of_ranks(trainer)}
    return ResumableLoader(tensors, batch_size, prepare=prepare, augmentation=augmentation, **order)


def evaluation_loader(
    tensors: Sequence[Tensor], batch_size: int, *, trainer: Trainer | None = None, prepare: Prepare | None = None
) -> "EvaluationLoader":
    """An EvaluationLoader with the trainer's rank and world size."""
    return EvaluationLoader(tensors, batch_size, prepare=prepare, **of_ranks(trainer))


def of_ranks(trainer: Trainer | None) -> dict[str, int]:
    """The trainer's rank and world size; 0 and 1 without a trainer."""
    return {"rank": trainer.global_rank, "world_size": trainer.world_size} if trainer else {"rank": 0, "world_size": 1}


def clock_of(trainer: Trainer | None) -> Callable[[], tuple[int, int]] | None:
    """The `clock` of an EpochLoader that counts batches as the trainer does."""
    if trainer is None:
        return None

    def clock() -> tuple[int, int]:
        # `processed` counts the batches of this epoch whose step is done. It includes the current batch at
        # `on_train_batch_end`, but not at `on_train_batch_start` or in a failing step. Lightning's own counters
        # resume in the same way.
        of_epoch = trainer.fit_loop.epoch_loop.batch_progress.state_dict()["current"]
        return trainer.current_epoch, of_epoch["processed"]

    return clock


class EpochLoader:
    """Shuffled batches whose order is a function of (seed, epoch), and which can start anywhere in an epoch.

    A subclass implements `batches`, and `order` if it has another one.

    The order of epoch e is a `torch.randperm` with a separate generator keyed by (seed, e). It is cut into global
    batches of `batch_size` samples; rank r of W takes the r-th of W parts of each. So the samples of step i do not
    depend on the number of ranks, and the global random state is not touched.

    The last, partial batch is kept. With several ranks it is split as evenly as possible (part sizes differ by at
    most one; `kiti.tasks.global_batch` weighs them); it is dropped if it has fewer samples than there are ranks.
    Every rank has the same number of batches.

    Resuming under Lightning (2.6): a loader with `state_dict` and `load_state_dict` is saved with every checkpoint
    (`loops.fit_loop.state_dict.combined_loader`). If the checkpoint was taken inside an epoch, the loader is restored
    before its first iterator is created. Three facts determine the design of this class:

    - A loader of known length is not prefetched: the batches served are those of finished steps plus the current
      one. Whether the current one counts depends on the hook that saves, so we ask the trainer (`clock`).
    - Lightning announces epochs only to `loader.sampler`, and after an end-of-epoch checkpoint under `max_steps` the
      number is one too high. So we ask the trainer for the epoch, too.
    - The iterator of a (re)started fit is created before its epoch is known. So iteration is lazy: epoch and
      position are read when the first batch is requested.

    Args:
        size: number of samples.
        batch_size: samples per step over all ranks; ValueError if `world_size` does not divide it.
        seed: key of the order, non-negative.
        rank, world_size: global rank (not the local one) of this process, and number of processes.
        clock: returns (epoch, number of its batches that are done and are skipped after a restart). Without it,
            `set_epoch` sets the epoch, and all batches served so far count as done.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        clock: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        check_ranks(batch_size, rank, world_size)
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} must be a multiple of the number of ranks, {world_size}")
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._clock = clock
        self._epoch = 0
        self._first = 0  # where the next iterator starts
        self._handed_out = 0

    @abstractmethod
    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """This rank's batches of an epoch, starting at batch `first`, counted from 0; lazy."""

    def order(self, epoch: int) -> Int64[Tensor, "n"]:
        """The samples of an epoch over all ranks, batch after batch."""
        return epoch_order(self.size, self.seed, epoch)

    def samples_of_batch(self, epoch: int, batch: int) -> list[int]:
        """The samples of a batch over all ranks."""
        return self.order(epoch)[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iterator; a new epoch starts at its first batch."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._first = self._handed_out = 0

    def __len__(self) -> int:
        """Batches in a full epoch, even if the next iterator starts in the middle."""
        whole, rest = divmod(self.size, self.batch_size)
        return whole + (rest >= self.world_size)

    def __iter__(self) -> Iterator[Batch]:
        if self._clock is not None:
            self.set_epoch(self._clock()[0])
        first, self._first = self._first, 0
        for done, batch in enumerate(self.batches(self._epoch, first), first + 1):
            self._handed_out = done
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Plain integers, equal on all ranks; loadable with `weights_only=True`."""
        done = self._handed_out if self._clock is None else min(self._clock()[1], self._handed_out)
        return {"epoch": self._epoch, "batches": done, **self._order_key()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batches of `state`; ValueError if it was saved with a different order."""
        for key, ours in self._order_key().items():
            if state[key] != ours:
                raise ValueError(f"cannot resume inside an epoch: {key} was {state[key]} when saved and is {ours} now")
        self._epoch = state["epoch"]
        self._first = self._handed_out = state["batches"]

    def _order_key(self) -> dict[str, int]:
        return {"seed": self.seed, "size": self.size, "batch_size": self.batch_size}


class ResumableLoader(EpochLoader):
    """An EpochLoader of tensors.

    Args:
        tensors: of equal first dimension, one row per sample.
        prepare: applied to each batch of this rank, after the augmentation.
        augmentation: applied to the first tensor of each batch, with random numbers keyed by (seed, epoch, sample).
        batch_size, order: as for EpochLoader.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        *,
        prepare: Prepare | None = None,
        augmentation: Augmentation | None = None,
        **order: Any,
    ) -> None:
        self.tensors = tuple(tensors)
        self.prepare = prepare
        self.augmentation = augmentation
        super().__init__(_size(self.tensors), batch_size, **order)

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        order = self.order(epoch)
        draws = self._draws(epoch)
        for i in range(first, len(self)):
            of_all_ranks = order[i * self.batch_size : (i + 1) * self.batch_size]
            samples = of_all_ranks.tensor_split(self.world_size)[self.rank]
            batch = _rows(self.tensors, samples)
            if self.augmentation is not None and draws is not None:
                batch = (self.augmentation(batch[0], draws[samples]), *batch[1:])
            yield batch if self.prepare is None else self.prepare(batch)

    def _draws(self, epoch: int) -> Tensor | None:
        """An epoch's random numbers for the augmentation, one row per sample."""
        if self.augmentation is None:
            return None
        return self.augmentation.draw(self.size, torch.Generator().manual_seed(_key(self.seed, epoch, 1)))


class OrderedLoader:
    """Every sample exactly once over all ranks, in order: no duplicates, no padding, exact sums.

    A subclass implements `batches`.

    Rank r of W takes the r-th of W parts of each global batch of `batch_size`; part sizes differ by at most one, so W
    need not divide it. All ranks have the same number of batches (otherwise a model that synchronises its buffers in
    forward would wait forever): if the last batch has fewer samples than there are ranks, all samples are split evenly
    into the same number of batches, or into fewer that have a sample for each rank.

    Args:
        size: number of samples; DataError if there are fewer than ranks.
        batch_size, rank, world_size: as for EpochLoader; W if the batch size is less than W.
    """

    def __init__(self, size: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        check_ranks(batch_size, rank, world_size)
        if size < world_size:
            raise DataError(f"{size} samples are too few to test on {world_size} processes: start at most {size}")
        samples, together = torch.arange(size), max(batch_size, world_size)
        if 0 < size % together < world_size:
            of_all_ranks = samples.tensor_split(min(ceil(size / together), size // world_size))
        else:
            of_all_ranks = samples.split(together)
        self._shares = [batch.tensor_split(world_size)[rank] for batch in of_all_ranks]

    @abstractmethod
    def batches(self, shares: Sequence[Tensor]) -> Iterator[Batch]:
        """One batch per share, holding its samples; lazy."""

    def __len__(self) -> int:
        return len(self._shares)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches(self._shares)


class EvaluationLoader(OrderedLoader):
    """An OrderedLoader of tensors; arguments as for ResumableLoader."""

    def __init__(
        self, tensors: Sequence[Tensor], batch_size: int, *, prepare: Prepare | None = None, **ranks: int
    ) -> None:
        self.tensors = tuple(tensors)
        self.prepare = prepare
        super().__init__(_size(self.tensors), batch_size, **ranks)

    def batches(self, shares: Sequence[Tensor]) -> Iterator[Batch]:
        for share in shares:
            batch = _rows(self.tensors, share)
            yield batch if self.prepare is None else self.prepare(batch)


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """The order of samples in `epoch` for `seed`, a permutation of range(size): (size,) int64."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(_key(seed, epoch)))


def _key(*parts: int) -> int:
    # SeedSequence mixes them: neighbouring seeds and epochs are independent, unlike with seed + epoch.
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def _rows(tensors: Batch, samples: Tensor) -> Batch:
    return tuple(tensor.index_select(0, samples.to(tensor.device)) for tensor in tensors)


def _size(tensors: Batch) -> int:
    """The number of samples; ValueError if the tensors disagree."""
    sizes = {len(tensor) for tensor in tensors}
    if len(sizes) != 1:
        raise ValueError(f"tensors must have equal first dimensions, got {[len(tensor) for tensor in tensors]}")
    return sizes.pop()


def check_ranks(batch_size: int, rank: int, world_size: int) -> None:
    """ValueError if the batch is empty or the rank does not exist."""
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be positive")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not one of {world_size} ranks")
