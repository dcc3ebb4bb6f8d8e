"""Batches read by worker processes in a given order."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from kiti.data import DataError
from kiti.data.loading import Batch


class _Plan:
    """The batches to read next; a DataLoader asks for them each time it is iterated."""

    batches: Iterable[list[Any]] = ()

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.batches)


def _apart(worker: int) -> None:
    os.setsid()  # Ctrl-C, or a signal to the group of processes, stops the run, which needs its readers until it saves


class Reader:
    """Reads batches of `samples` in `workers` processes, which are started once; 0: in this process.

    Args:
        samples: gives a sample for each item of a batch, or with `__getitems__` for all of them.
        workers: number of processes.
        collate: makes a batch of samples; None: torch's default, which stacks them.
    """

    def __init__(self, samples: Dataset[Any], workers: int, collate: Callable[[Any], Any] | None = None) -> None:
        self._plan = _Plan()
        self._loader: DataLoader[Any] = DataLoader(
            samples,
            batch_sampler=self._plan,  # type: ignore[arg-type]  # it is only iterated
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_apart,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # otherwise each start draws from the global one
        )

    def read(self, batches: Iterable[list[Any]]) -> Iterator[Batch]:
        """A batch for each list of items, in order. A DataError of the samples is passed on."""
        self._plan.batches = batches
        try:
            for batch in self._loader:
                yield tuple(batch)
        except DataError as error:  # from a worker, the message is the whole traceback
            raise DataError(str(error).strip().splitlines()[-1].removeprefix("kiti.data.DataError: ")) from error
