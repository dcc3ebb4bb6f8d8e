"""The keys common to data sets that are kept in memory."""

from pydantic import PositiveInt

from kiti.units.keys import DataKeys
from kiti.units.sample_shapes import Sizes


class InMemoryKeys(DataKeys):
    n_train: PositiveInt
    n_test: PositiveInt

    def sizes(self) -> Sizes:
        return Sizes(self.n_train, self.n_test, self.n_train)
