"""Loads blocks in a shuffled order for training, and in their own order for evaluation."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from kiti.data.language.blocks import Block, BlockSource
from kiti.data.loading import Batch, EpochLoader, OrderedLoader
from kiti.data.planned_reading import Reader


def _as_it_is(batch: Any) -> Any:
    return batch


class BlockLoader(EpochLoader):
    """Shuffled blocks: position p of epoch e is block `epoch_order(size, seed, e)[p]`, so any of them can be read.

    Args:
        source: endless.
        batch_size: blocks per step over all ranks.
        workers: number of reading processes, which does not change the batches; 0: none, which memory maps rarely need.
        content: of the data; a run does not resume inside an epoch of other data.
        order: seed, rank, world_size and clock, as for EpochLoader.
    """

    def __init__(
        self, source: BlockSource, batch_size: int, *, workers: int = 0, content: str = "", **order: Any
    ) -> None:
        super().__init__(len(source), batch_size, **order)
        self.source = source
        self.content = content
        self._reader = Reader(source, workers, _as_it_is)

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        return self._reader.read(self.plan(epoch, first))

    def plan(self, epoch: int, first: int) -> Iterator[list[Block]]:
        """This rank's blocks of each batch, starting at batch `first`."""
        order = self.order(epoch)
        for i in range(first, len(self)):
            of_all_ranks = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield [(epoch, block) for block in of_all_ranks.tensor_split(self.world_size)[self.rank].tolist()]

    def _order_key(self) -> dict[str, int]:
        return super()._order_key() | {
            "context": self.source.context,
            "isolated": int(self.source.documents == "isolated"),
            "content": int(self.content[:8] or "0", 16),
        }


class BlockEvaluationLoader(OrderedLoader):
    """The blocks of a source in their order, or some of them, each once over all ranks.

    Args:
        source: of tokens that end.
        which: numbers of blocks; None: all.
        batch_size, ranks: as for OrderedLoader.
    """

    def __init__(self, source: BlockSource, batch_size: int, *, which: Tensor | None = None, **ranks: int) -> None:
        self.which = torch.arange(len(source)) if which is None else which
        super().__init__(len(self.which), batch_size, **ranks)
        self.source = source

    def batches(self, shares: Sequence[Tensor]) -> Iterator[Batch]:
        for share in shares:
            yield self.source.__getitems__([(0, block) for block in self.which[share].tolist()])
