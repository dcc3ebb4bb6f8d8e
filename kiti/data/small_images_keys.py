"""The keys common to sets of small images."""

from pydantic import PositiveInt

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.keys import Place


class SmallImagesKeys(InMemoryKeys):
    classes: PositiveInt
    augment: bool
    data_dir: Place[str]
    kind = "images"
