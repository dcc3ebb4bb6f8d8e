"""The keys of `task=stopped_regression`."""

from kiti.units.keys import PrimaryMetric, TaskKeys


class StoppedRegressionKeys(TaskKeys):
    builds = "kiti.tasks.stopped_regression.StoppedRegression"
    name = "stopped_regression"
    kind = "points of a function"
    metric = PrimaryMetric("test/over_constant", "test error over that of a constant")
