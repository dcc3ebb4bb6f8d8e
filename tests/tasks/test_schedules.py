"""Warmup and cosine match the published codes, and resume."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from timm.scheduler import CosineLRScheduler

from kiti.tasks.schedules import WarmupCosine
from kiti.tasks.task import BY_STEPS

A2 = {"epochs": 30, "warmup_epochs": 5, "warmup_lr": 1e-4, "min_lr": 1e-6}


def optimizer(lr: float = 5e-3) -> torch.optim.Optimizer:
    vector = torch.nn.Parameter(torch.zeros(3))
    other = torch.nn.Parameter(torch.zeros(3))
    return torch.optim.SGD([{"params": [vector]}, {"params": [other], "lr": lr / 10}], lr=lr)


def rates(steps: int, of: torch.optim.Optimizer, **options: Any) -> list[float]:
    """Learning rate of the first group in each step."""
    schedule, found = WarmupCosine(of, steps, **options), []
    for _ in range(steps):
        found.append(of.param_groups[0]["lr"])
        of.step()
        schedule.step()
    return found


def test_epoch_schedule_matches_timm() -> None:
    timms = CosineLRScheduler(
        optimizer(), t_initial=30, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4, warmup_prefix=False
    )
    expected = [timms._get_lr(epoch)[0] for epoch in range(30) for _step in range(4)]
    assert rates(120, optimizer(), under_warmup=True, each="epoch", **A2) == pytest.approx(expected)


def test_step_schedule_matches_convnext_after_the_warmup() -> None:
    """ConvNeXt's warmup reaches lr one step before the cosine, which starts at lr again; here it ends at that start."""
    warmup, rest = 5 * 4, 25 * 4
    line = np.linspace(1e-4, 5e-3, warmup + 1)[:-1]
    cosine = [1e-6 + 0.5 * (5e-3 - 1e-6) * (1 + math.cos(math.pi * i / rest)) for i in range(rest)]
    found = rates(120, optimizer(), under_warmup=False, each="step", **A2)
    assert found == pytest.approx([*line, *cosine])


def test_groups_keep_their_ratio() -> None:
    of = optimizer()
    rates(70, of, under_warmup=True, each="step", **A2)
    assert of.param_groups[1]["lr"] == pytest.approx(of.param_groups[0]["lr"] / 10)


def test_it_resumes() -> None:
    make = partial(WarmupCosine, total_steps=120, under_warmup=True, each="step", **A2)
    first, second = optimizer(), optimizer()
    one, other = make(first), make(second)
    for _ in range(40):
        first.step()
        one.step()
    second.load_state_dict(first.state_dict())
    other.load_state_dict(one.state_dict())
    for _ in range(3):
        for schedule, of in ((one, first), (other, second)):
            of.step()
            schedule.step()
        assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"]


def test_a_task_gives_it_the_number_of_steps() -> None:
    assert WarmupCosine in BY_STEPS
