"""Means are torchmetrics' to the bit, but a nan shows."""

import pytest
import torch
from torchmetrics import MeanMetric

from kiti.tasks.language_modelling import Sums
from kiti.tasks.mean import Mean


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
def test_finite_means_are_those_of_torchmetrics(dtype: torch.dtype, weighted: bool) -> None:
    ours, theirs = Mean(), MeanMetric()
    draws = torch.Generator().manual_seed(0)
    for _ in range(20):
        values = torch.randn(7, generator=draws).to(dtype)
        weight = torch.rand(7, generator=draws).double()
        for metric in (ours, theirs):
            metric.update(values, weight) if weighted else metric.update(values)
            metric.update(values[0], 3)
    assert torch.equal(ours.compute(), theirs.compute())
    assert ours.metric_state.keys() == theirs.metric_state.keys()  # those of earlier checkpoints


def test_a_nan_shows() -> None:
    mean = Mean()
    mean.update(torch.tensor([1.0, torch.nan]))
    mean.update(torch.tensor([1.0, 2.0]))
    assert mean.compute().isnan()
    mean.reset()
    mean.update(torch.tensor([1.0, 2.0]))
    assert mean.compute() == 1.5


def test_a_nan_shows_in_the_sums_of_language_models() -> None:
    sums = Sums()
    sums.update(torch.tensor(torch.nan), torch.tensor(3))
    sums.update(torch.tensor(1.0), torch.tensor(3))
    found = sums.compute()
    assert found is not None
    assert found[0] != found[0]
    assert found[1] == 6
