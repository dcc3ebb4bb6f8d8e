"""The keys of `task=classification`."""

from kiti.units.keys import Fraction, PrimaryMetric, TaskKeys


class ClassificationKeys(TaskKeys):
    builds = "kiti.tasks.classification.Classification"
    name = "classification"
    label_smoothing: Fraction = 0.0
    kind = "images"
    metric = PrimaryMetric("test/accuracy", "test accuracy (%)", higher_is_better=True)
