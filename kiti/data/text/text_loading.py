"""Batches of tokenised texts of similar length."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from kiti.data.loading import Batch, EpochLoader, OrderedLoader, epoch_order
from kiti.data.text.tokenised import TokenisedSplit

BATCHES_SORTED = 50
"""So many batches of shuffled items are sorted by length together."""


def length_grouped_order(
    lengths: Int64[Tensor, "n"], batch_size: int, seed: int, epoch: int, *, together: int = BATCHES_SORTED
) -> Int64[Tensor, "n"]:
    """The order of items in an epoch, a permutation: each slice of `batch_size` holds items of similar length.

    Shuffled items are sorted by length within runs of `together` batches, cut into batches, and the full batches are
    shuffled. The last, partial batch stays the last one. A function of (lengths, batch_size, seed, epoch).
    """
    shuffled = epoch_order(len(lengths), seed, epoch)
    full = len(lengths) // batch_size * batch_size
    runs = [run[lengths[run].argsort(stable=True)] for run in shuffled[:full].split(together * batch_size)]
    if not runs:
        return shuffled
    batches = torch.cat(runs).view(-1, batch_size)
    return torch.cat([batches[epoch_order(len(batches), seed, epoch)].flatten(), shuffled[full:]])


class TextLoader(EpochLoader):
    """Shuffled batches of similar length, see `length_grouped_order`; padded to their longest item.

    Rank r of W takes every W-th item of a global batch, starting at the r-th, so all ranks have similar lengths.

    Args:
        split: the tokenised items.
        items: which of them, (size,).
        batch_size, order: as for EpochLoader.
        multiple: lengths are padded to a multiple of it.
        content: of the data; a run does not resume inside an epoch of other data.
    """

    def __init__(
        self,
        split: TokenisedSplit,
        items: Int64[Tensor, "size"],
        batch_size: int,
        *,
        multiple: int = 1,
        content: str = "",
        **order: Any,
    ) -> None:
        super().__init__(len(items), batch_size, **order)
        self.split = split
        self.items = items
        self.multiple = multiple
        self.content = content

    def order(self, epoch: int) -> Int64[Tensor, "n"]:
        return self.items[length_grouped_order(self.split.lengths[self.items], self.batch_size, self.seed, epoch)]

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        order = self.order(epoch)
        for i in range(first, len(self)):
            of_all_ranks = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield self.split.batch(of_all_ranks[self.rank :: self.world_size], self.multiple)

    def _order_key(self) -> dict[str, int]:
        return super()._order_key() | {"content": int(self.content[:8] or "0", 16)}


class TextEvaluationLoader(OrderedLoader):
    """The items in order of their length, each once over all ranks; arguments as for TextLoader, and ranks."""

    def __init__(
        self, split: TokenisedSplit, items: Int64[Tensor, "size"], batch_size: int, *, multiple: int = 1, **ranks: int
    ) -> None:
        super().__init__(len(items), batch_size, **ranks)
        self.split = split
        self.items = items[split.lengths[items].argsort(stable=True)]
        self.multiple = multiple

    def batches(self, shares: Sequence[Tensor]) -> Iterator[Batch]:
        for share in shares:
            yield self.split.batch(self.items[share], self.multiple)
