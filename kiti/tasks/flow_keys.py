"""The keys of `task=flow_rollout`."""

from pydantic import NonNegativeInt

from kiti.units.keys import Fraction, PrimaryMetric, TaskKeys


class FlowRolloutKeys(TaskKeys):
    builds = "kiti.tasks.flow.FlowRollout"
    name = "flow_rollout"
    curriculum_frames: NonNegativeInt
    curriculum_share: Fraction
    kind = "flows on irregular points"
    metric = PrimaryMetric("test/momentum_rmse_box", "test momentum RMSE in the box")
