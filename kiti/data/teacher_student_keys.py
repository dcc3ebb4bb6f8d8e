"""The keys of `data=teacher_student`."""

from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from kiti.data.in_memory_keys import InMemoryKeys
from kiti.units.keys import NotRecorded
from kiti.units.sample_shapes import Entry, Sample, Sizes


class TeacherStudentKeys(InMemoryKeys):
    builds = "kiti.data.teacher_student.TeacherStudentData"
    name = "teacher_student"
    n_validation: PositiveInt
    d: PositiveInt
    teacher_neurons: PositiveInt
    noise: NonNegativeFloat
    steps: PositiveInt
    replicas: NotRecorded[PositiveInt]
    kind = "points of a function"
    takes_replicas: ClassVar[bool] = True  # a step is on all points, so there is no order of batches

    @property
    def batches_per_epoch(self) -> int:
        return self.steps

    def sizes(self) -> Sizes:
        return Sizes(self.steps * self.n_train, self.n_test, self.n_train, validates=True)

    @model_validator(mode="after")
    def _a_step_is_on_all_points(self) -> "TeacherStudentKeys":
        if self.batch_size != self.n_train:
            raise ValueError(f"batch_size={self.batch_size} must be n_train={self.n_train}: a step is on all points")
        return self

    def sample(self, training: bool) -> Sample:
        return Entry((self.replicas, self.d)), Entry((self.replicas,))
