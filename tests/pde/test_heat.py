"""The closed-form heat solver against independent closed forms, and the readings of its source."""

from math import exp, pi

import pytest
import torch

from kiti.pde.heat_solver import heat_source, solve_heat


def wave(points, k1, k2):
    x = torch.arange(points, dtype=torch.float64) / points
    return (2 * pi * (k1 * x[:, None] + k2 * x)).cos()


@pytest.mark.parametrize(("k1", "k2"), [(0, 0), (1, 0), (2, 3), (-4, 1)])
def test_each_mode_relaxes_in_closed_form(k1, k2):
    alpha, times = 0.01, [0.0, 0.3, 2.0]
    rate = alpha * (2 * pi) ** 2 * (k1**2 + k2**2)
    mode = wave(16, k1, k2)
    frames = solve_heat(3 * mode[None], alpha, times, 0.5 * mode)[0]
    for time, frame in zip(times, frames, strict=True):
        gained = 0.5 * (1 - exp(-rate * time)) / rate if rate else 0.5 * time
        torch.testing.assert_close(frame, (3 * exp(-rate * time) + gained) * mode, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("source", ["boundary", "uniform"])
def test_only_the_source_raises_the_mean(source):
    q = heat_source(source, 32)
    u0 = torch.randn(3, 32, 32, dtype=torch.float64)
    frames = solve_heat(u0, 1e-4, [5.0], q)
    torch.testing.assert_close(frames[:, 0].mean((1, 2)), u0.mean((1, 2)) + 5.0 * q.mean(), rtol=1e-12, atol=1e-12)


def test_steps_may_be_split_anywhere():
    q, u0 = heat_source("boundary", 16), torch.randn(2, 16, 16, dtype=torch.float64)
    at_once = solve_heat(u0, 1e-3, [1.0, 3.0], q)
    in_turns = solve_heat(at_once[:, 0], 1e-3, [2.0], q)
    torch.testing.assert_close(in_turns[:, 0], at_once[:, 1], rtol=1e-12, atol=1e-12)


def test_small_rates_lose_no_precision():
    mode = wave(16, 1, 0)
    rate = 1e-12 * (2 * pi) ** 2
    found = solve_heat(torch.zeros(1, 16, 16, dtype=torch.float64), 1e-12, [1.0], mode)[0, 0]
    torch.testing.assert_close(found, (1 - rate / 2) * mode, rtol=1e-15, atol=1e-15)


def test_the_ring_is_one_point_wide():
    source = heat_source("boundary", 8)
    assert (source == 0.1).sum() == 28
    assert (source[1:-1, 1:-1] == 0).all()


def test_another_source_is_refused():
    with pytest.raises(ValueError, match="'boundary', 'uniform'"):
        heat_source("walls", 8)
