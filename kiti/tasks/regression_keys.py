"""The keys of `task=regression`."""

from kiti.units.keys import PrimaryMetric, TaskKeys


class RegressionKeys(TaskKeys):
    builds = "kiti.tasks.regression.Regression"
    name = "regression"
    kind = "points of a function"
    metric = PrimaryMetric("test/mse", "test MSE")
