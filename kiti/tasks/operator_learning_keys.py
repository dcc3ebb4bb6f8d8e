"""The keys of `task=operator_learning` and `task=operator_rollout`."""

from kiti.units.keys import TaskKeys


class OperatorLearningKeys(TaskKeys):
    builds = "kiti.tasks.operator_learning.OperatorLearning"
    name = "operator_learning"
    kind = "pairs of functions"


class OperatorRolloutKeys(TaskKeys):
    builds = "kiti.tasks.operator_learning.OperatorRollout"
    name = "operator_rollout"
    kind = "frames on a grid"
