"""The keys of `task=mixed_classification`."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from kiti.units.keys import Fraction, PrimaryMetric, TaskKeys


class MixedClassificationKeys(TaskKeys):
    builds = "kiti.tasks.mixed_classification.MixedClassification"
    name = "mixed_classification"
    mixup: NonNegativeFloat
    cutmix: NonNegativeFloat
    classes: PositiveInt
    loss: Literal["cross_entropy", "binary_cross_entropy"]
    target_threshold: Fraction | None
    label_smoothing: Fraction
    decay_vectors: bool
    kind = "images"
    metric = PrimaryMetric("test/accuracy", "test accuracy (%)", higher_is_better=True)
