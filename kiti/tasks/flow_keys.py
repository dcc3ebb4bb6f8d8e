"""The keys of `task=flow_rollout`."""

from typing import Any

from pydantic import NonNegativeInt

from kiti.units.keys import Fraction, PrimaryMetric, TaskKeys


class FlowRolloutKeys(TaskKeys):
    builds = "kiti.tasks.flow.FlowRollout"
    name = "flow_rollout"
    curriculum_frames: NonNegativeInt
    curriculum_share: Fraction
    kind = "flows on irregular points"
    metric = PrimaryMetric("test/momentum_rmse_box", "test momentum RMSE in the box")

    def outputs(self, model: Any, batch: tuple[Any, ...]) -> Any:
        """All frames, as after the curriculum, which predicts fewer."""
        given, target, positions, kind, mask = batch
        return model(given, positions, kind, mask, target.shape[1])
