"""The keys common to sets of small images."""

from pydantic import PositiveInt

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.keys import Place
from kiti.units.sample_shapes import Entry, Sample, Sizes


class SmallImagesKeys(InMemoryKeys):
    classes: PositiveInt
    augment: bool
    data_dir: Place[str]
    kind = "images"

    def sample(self, training: bool) -> Sample:
        return Entry((3, 32, 32)), Entry((), "int64")

    def sizes(self) -> Sizes:
        return super().sizes()._replace(validates=True)
