"""Blocks of a fixed number of tokens, cut from joined documents, as input ids, labels and positions."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Dataset

from kiti.data.language.token_corpus import Ids, Passes

UNLABELLED = -100
"""The label of a position whose next token is not to be predicted."""

Block = tuple[int, int]
"""An epoch and a number in it."""
Blocks = tuple[Int64[Tensor, "B T"], Int64[Tensor, "B T"], Int64[Tensor, "B T"]]
"""input_ids, labels, which are the next tokens, and positions."""


class BlockSource(Dataset[Blocks]):
    """The blocks of some streams: first all of the first stream, then all of the second, …

    Block b of a stream in epoch e has the tokens at (e · blocks + b) · T to that + T - 1 of the stream as inputs, and
    those one further as labels. So neighbours in a stream share the token between them; each token is an input once
    and a label once, but for the stream's first, which is only an input.

    joined: positions are 0 to T - 1. isolated: they begin again at 0 with each document, and the next document is not
    predicted: the label at an end token is UNLABELLED.

    Args:
        streams: one a corpus.
        blocks: of each stream in an epoch.
        context: T.
        documents: "joined" or "isolated".
        end: the id of the end token.
        tokens: how many of each stream there are; None: endless. Places behind the last one hold end tokens without
            labels.
    """

    def __init__(
        self,
        streams: Sequence[Passes],
        blocks: Sequence[int],
        context: int,
        documents: Literal["joined", "isolated"],
        end: int,
        tokens: Sequence[int] | None = None,
    ) -> None:
        self.streams = streams
        self.blocks = blocks
        self.context = context
        self.documents = documents
        self.end = end
        self.tokens = tokens
        self._ends = np.cumsum(blocks)

    def __len__(self) -> int:
        """Blocks in an epoch."""
        return int(self._ends[-1])

    def __getitem__(self, block: Block) -> Blocks:
        return self.__getitems__([block])

    def __getitems__(self, blocks: Iterable[Block]) -> Blocks:
        """A batch, one row a block."""
        rows = [self._read(*block) for block in blocks]
        ids = np.stack([row for row, _ in rows])  # (B, T + 1)
        known = np.array([count for _, count in rows])
        inputs, labels = ids[:, :-1], ids[:, 1:].copy()
        labels[np.arange(1, self.context + 1) >= known[:, None]] = UNLABELLED
        places = np.arange(self.context)
        positions = np.broadcast_to(places, inputs.shape)
        if self.documents == "isolated":
            ends = inputs == self.end
            labels[ends] = UNLABELLED
            begins = np.zeros_like(inputs)
            begins[:, 1:] = np.where(ends[:, :-1], places[1:], 0)
            positions = places - np.maximum.accumulate(begins, axis=1)
        return torch.tensor(inputs), torch.from_numpy(labels), torch.tensor(positions)

    def _read(self, epoch: int, number: int) -> tuple[Ids, int]:
        """context + 1 ids, and how many of them there are in the stream."""
        which = int(np.searchsorted(self._ends, number, side="right"))
        blocks = self.blocks[which]
        first = (epoch * blocks + number - int(self._ends[which]) + blocks) * self.context
        count = self.context + 1
        if self.tokens is None:
            return self.streams[which].read(first, count), count
        known = min(count, self.tokens[which] - first)
        ids = np.full(count, self.end, np.int64)
        ids[:known] = self.streams[which].read(first, known)
        return ids, known
