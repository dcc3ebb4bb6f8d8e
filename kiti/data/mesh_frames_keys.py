"""The keys common to flows on irregular points."""

from abc import abstractmethod

from pydantic import PositiveInt

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.keys import Place
from kiti.units.sample_shapes import Entry, Sample


class MeshFramesKeys(InMemoryKeys):
    data_dir: Place[str]
    frames_in: PositiveInt
    frames_out: PositiveInt
    kind = "flows on irregular points"

    @abstractmethod
    def points(self) -> int:
        """About how many points a flow has."""

    def sample(self, training: bool) -> Sample:
        points = self.points()
        given, target = (Entry((frames, points, 4)) for frames in (self.frames_in, self.frames_out))
        return given, target, Entry((points, 2)), Entry((points,), "int64"), Entry((points,), "bool")
