"""The keys of `task=operator_learning` and `task=operator_rollout`."""

from typing import Any

from kiti.units.keys import PrimaryMetric, TaskKeys
from kiti.units.sample_shapes import Sample

RELATIVE_L2 = PrimaryMetric("test/relative_l2", "test relative L2")


class OperatorLearningKeys(TaskKeys):
    builds = "kiti.tasks.operator_learning.OperatorLearning"
    name = "operator_learning"
    kind = "pairs of functions"
    metric = RELATIVE_L2


class OperatorRolloutKeys(TaskKeys):
    builds = "kiti.tasks.operator_learning.OperatorRollout"
    name = "operator_rollout"
    kind = "frames on a grid"
    metric = RELATIVE_L2

    def outputs(self, model: Any, batch: tuple[Any, ...]) -> Any:
        """All predicted frames, one call for each, as in `OperatorRollout.predict`."""
        import torch

        frames, target = batch
        predicted = []
        for _ in range(target.shape[1]):
            predicted.append(model(frames))
            frames = torch.cat([frames[:, 1:], predicted[-1].unsqueeze(1)], dim=1)
        return torch.stack(predicted, dim=1)

    def frames(self, sample: Sample) -> int:
        return sample[1].shape[0]

    def of_frames(self, sample: Sample, frames: int) -> Sample:
        given, target = sample
        return given, target._replace(shape=(frames, *target.shape[1:]))
