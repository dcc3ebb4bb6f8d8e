"""What a data set declares about its samples, so that the cost of a run is known before any are read or computed."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One tensor of a sample, without the axis of the batch; `dtype` is a name in torch."""

    shape: tuple[int, ...]
    dtype: str = "float32"


Sample = tuple[Entry, ...]
"""The tensors of a batch, in their order."""


class Sizes(NamedTuple):
    """How many samples there are to train on, to test on, and to measure the training error on.

    `validates`: the test set is measured after every epoch as well. `drops_last`: the last batch of an epoch is left
    out if it is not full.
    """

    train: int
    test: int
    train_eval: int
    validates: bool = False
    drops_last: bool = False

    def batches(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return self.train // batch_size if self.drops_last else -(-self.train // batch_size)

    def samples(self, batch_size: int) -> int:
        """Samples in an epoch."""
        return self.batches(batch_size) * batch_size if self.drops_last else self.train
