"""Reads tokens of a corpus through memory maps: documents by number, and endless passes over some of them."""

from typing import Any

import numpy as np
from jaxtyping import Int64

from kiti.data.language.documents import SPLITS
from kiti.data.language.shard_index import TOKENS, ShardIndex
from kiti.data.loading import epoch_order

Ids = Int64[np.ndarray, "_"]


class TokenCorpus:
    """The documents of a corpus; `lengths` in tokens with the end token, and `sizes` in bytes of text, (documents,)."""

    def __init__(self, index: ShardIndex) -> None:
        self.index = index
        table = index.table()
        self.lengths, self.sizes = table["lengths"], table["sizes"]
        self._splits = table["splits"]
        documents = np.array([shard.documents for shard in index.shards])
        self._shards = np.repeat(np.arange(len(documents)), documents)
        ends = self.lengths.cumsum()
        before = np.array([0, *np.cumsum([shard.tokens for shard in index.shards])])
        self._starts = ends - self.lengths - before[self._shards]
        self._maps: dict[int, np.ndarray] = {}

    def of_split(self, split: str) -> Ids:
        """The numbers of its documents."""
        return np.flatnonzero(self._splits == SPLITS.index(split))

    def tokens(self, document: int, first: int, last: int) -> np.ndarray:
        """Tokens of a document from `first` up to `last`, without it; a view of the memory map."""
        shard, start = int(self._shards[document]), int(self._starts[document])
        if shard not in self._maps:
            path = self.index.path(TOKENS, shard)
            self._maps[shard] = np.memmap(path, self.index.dtype, "r")
        return self._maps[shard][start + first : start + last]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # another process maps the files itself; a map would be sent as a copy


class Passes:
    """Some documents of a corpus, joined, pass after pass, each pass in an order of its own.

    The order of pass p is a permutation that depends on (seed, p) alone. Position n of the stream is position n mod
    `size` of pass n // `size`, so any part of it can be read at once.

    Args:
        documents: their numbers; not empty.
        seed: of the orders.
        keep: so many orders are kept, 16 bytes a document each; a reader that goes back and forth needs all it visits.
    """

    def __init__(self, corpus: TokenCorpus, documents: Ids, seed: int, keep: int = 2) -> None:
        self.keep = keep
        self.corpus = corpus
        self.documents = documents
        self.seed = seed
        self.size = int(corpus.lengths[documents].sum())
        self._orders: dict[int, tuple[Ids, Ids]] = {}

    def order(self, number: int) -> tuple[Ids, Ids]:
        """The documents of a pass in their order, and where each ends, in tokens from the beginning of the pass."""
        if number not in self._orders:
            order = self.documents[epoch_order(len(self.documents), self.seed, number).numpy()]
            while len(self._orders) >= self.keep:
                del self._orders[next(iter(self._orders))]
            self._orders[number] = order, self.corpus.lengths[order].cumsum()
        return self._orders[number]

    def read(self, first: int, count: int) -> Ids:
        """`count` tokens of the stream from position `first` on."""
        found = np.empty(count, np.int64)
        done = 0
        while done < count:
            number, position = divmod(first + done, self.size)
            order, ends = self.order(number)
            at = int(np.searchsorted(ends, position, side="right"))
            while at < len(order) and done < count:
                document, end = int(order[at]), int(ends[at])
                start = end - int(self.corpus.lengths[document])
                last = min(end, position + count - done)
                found[done : done + last - position] = self.corpus.tokens(document, position - start, last - start)
                done += last - position
                position, at = last, at + 1
        return found
