"""What sets of small images have in common."""

from pydantic import PositiveInt

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.keys import Place


class SmallImagesKeys(InMemoryKeys):
    classes: PositiveInt
    augment: bool
    data_dir: Place[str]
    kind = "images"
