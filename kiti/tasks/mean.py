"""The mean of values of all ranks, in which a nan shows."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Mean(Metric):
    """Σ w x / Σ w over all updates and ranks.

    torchmetrics' MeanMetric leaves out nan, so that the mean of a network that has diverged looks sound, and waits for
    the device at each update to find them.
    """

    full_state_update = False
    mean_value: Tensor
    weight: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("mean_value", "weight"):  # the sums, named as in checkpoints
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: float | Tensor = 1.0) -> None:
        """Add values with one weight, or one each."""
        value = value.to(self.dtype)
        # A tensor of a number would wait for the device.
        each = weight.to(self.dtype).expand_as(value) if isinstance(weight, Tensor) else torch.full_like(value, weight)
        self.mean_value += (value * each).sum()
        self.weight += each.sum()

    def compute(self) -> Tensor:
        return self.mean_value / self.weight
