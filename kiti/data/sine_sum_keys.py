"""The keys of `data=sine_sum`."""

from pydantic import PositiveInt, model_validator

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.keys import NotRecorded
from kiti.units.sample_shapes import Entry, Sample


class SineSumKeys(InMemoryKeys):
    builds = "kiti.data.sine_sum.SineSumData"
    name = "sine_sum"
    d: PositiveInt
    replicas: NotRecorded[PositiveInt]
    kind = "points of a function"

    @property
    def takes_replicas(self) -> bool:
        """Whether replicas train as runs with their seeds would: only without an order of batches, which differs."""
        return self.batch_size >= self.n_train

    @model_validator(mode="after")
    def _replicas_see_all_points(self) -> "SineSumKeys":
        if self.replicas > 1 and not self.takes_replicas:
            raise ValueError(
                f"replicas={self.replicas} would share the batch order, so none would match a run with its seed; "
                f"batch_size={self.n_train} takes all points"
            )
        return self

    def sample(self, training: bool) -> Sample:
        return Entry((self.replicas, self.d)), Entry((self.replicas,))
