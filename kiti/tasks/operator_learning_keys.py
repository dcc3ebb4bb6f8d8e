"""The keys of `task=operator_learning` and `task=operator_rollout`."""

from kiti.units.keys import PrimaryMetric, TaskKeys

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
