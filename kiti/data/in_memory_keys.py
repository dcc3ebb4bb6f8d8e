"""The keys common to data sets that are kept in memory."""

from math import ceil

from pydantic import PositiveInt

from kiti.units.keys import DataKeys
from kiti.units.sample_shapes import Sizes


class InMemoryKeys(DataKeys):
    n_train: PositiveInt
    n_test: PositiveInt

    @property
    def batches_per_epoch(self) -> int:
        """With the last, partial batch, which several ranks drop if it is smaller than their number."""
        return ceil(self.n_train / self.batch_size)

    def sizes(self) -> Sizes:
        return Sizes(self.n_train, self.n_test, self.n_train)
