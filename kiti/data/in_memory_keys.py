"""What data sets held in memory have in common."""

from pydantic import PositiveInt

from kiti.units.keys import DataKeys


class InMemoryKeys(DataKeys):
    n_train: PositiveInt
    n_test: PositiveInt
