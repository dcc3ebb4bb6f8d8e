"""What a step, a run and the runs of a row cost. Without torch, so that a table of costs is shown without it."""

from collections.abc import Sequence
from dataclasses import dataclass

from kiti.report.sheets import Row


@dataclass(frozen=True)
class Step:
    """What a step of one configuration costs.

    Attributes:
        parameters: their number.
        training_flops: of one sample, forward and backward.
        test_flops, train_eval_flops: of one sample of the test and of the training set, without gradient.
        peak_bytes: of a step on one device: parameters, gradients, optimizer, average, batch, and all in between.
    """

    parameters: int
    training_flops: float
    test_flops: int
    train_eval_flops: int
    peak_bytes: int


@dataclass(frozen=True)
class RunCost:
    """The cost of one run: optimizer steps, training samples, and operations, those of its evaluations included."""

    step: Step
    steps: int
    samples: int
    flops: float


@dataclass(frozen=True)
class RowCost:
    """A row with the cost of one of its runs; `reason` says why that is unknown.

    `again` is the label of an earlier row that has the same runs. `hours_here` is the time that all runs of the row
    take on this machine, from the records it has of this configuration; None without any.
    """

    row: Row
    seeds: Sequence[int]
    run: RunCost | None = None
    reason: str = ""
    again: str = ""
    hours_here: float | None = None

    @property
    def flops(self) -> float:
        """Operations of all runs."""
        return self.run.flops * len(self.seeds) if self.run else 0.0

    def device_hours(self, tflops: float) -> float:
        """Hours of all runs on a device that does `tflops` * 10^12 operations a second."""
        return self.flops / (tflops * 1e12) / 3600
