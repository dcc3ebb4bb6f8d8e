"""The keys common to pairs of functions on a grid."""

from typing import Literal

from pydantic import PositiveInt

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.sample_shapes import Entry, Sample

Draw = Literal["fixed", "per_seed"]
"""Whether all seeds of a run see the same computed samples, or each its own."""


class OperatorPairsKeys(InMemoryKeys):
    resolution: PositiveInt
    test_resolution: PositiveInt | None = None
    kind = "pairs of functions"

    def points(self, training: bool) -> int:
        """Grid points along an axis."""
        return self.resolution if training or self.test_resolution is None else self.test_resolution

    def sample(self, training: bool) -> Sample:
        function = Entry((self.points(training),))
        return function, function


def check_resolutions(data: OperatorPairsKeys, grid: int) -> None:
    """ValueError unless the resolutions divide the solver's `grid`."""
    for name in ("resolution", "test_resolution"):
        points = getattr(data, name)
        if points is not None and grid % points:
            raise ValueError(f"{name}={points} does not divide grid={grid}")
