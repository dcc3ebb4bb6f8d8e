"""The keys of `task=regression`."""

from kiti.units.keys import TaskKeys


class RegressionKeys(TaskKeys):
    builds = "kiti.tasks.regression.Regression"
    name = "regression"
    kind = "points of a function"
