"""The keys common to flows on irregular points."""

from pydantic import PositiveInt

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.keys import Place


class MeshFramesKeys(InMemoryKeys):
    data_dir: Place[str]
    frames_in: PositiveInt
    frames_out: PositiveInt
    kind = "flows on irregular points"
