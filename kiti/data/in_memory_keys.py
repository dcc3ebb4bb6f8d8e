"""The keys common to data sets that are kept in memory."""

from pydantic import PositiveInt

from kiti.units.keys import DataKeys


class InMemoryKeys(DataKeys):
    n_train: PositiveInt
    n_test: PositiveInt
