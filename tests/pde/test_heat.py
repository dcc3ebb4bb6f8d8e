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


def test_without_a_width_the_ring_is_one_point_wide():
    source = heat_source("boundary", 8)
    assert (source == 0.1).sum() == 28
    assert (source[1:-1, 1:-1] == 0).all()


@pytest.mark.parametrize("width", [1 / 256, 0.02, 0.3, 0.5])
def test_the_ring_has_the_same_integral_on_every_grid(width):
    """That of 0.1 over the square without the part inside; 64 points have none inside a ring 1/256 wide."""
    for grid in (64, 128, 256, 63):
        found = heat_source("boundary", grid, width).mean().item()
        assert found == pytest.approx(0.1 * (1 - (1 - 2 * width) ** 2), rel=1e-12)


def test_grids_have_the_same_source_up_to_their_highest_mode():
    coarse, fine = (torch.fft.fft2(heat_source("boundary", grid, 1 / 256), norm="forward") for grid in (64, 128))
    shown = torch.arange(-31, 32)
    torch.testing.assert_close(coarse[shown][:, shown], fine[shown][:, shown], rtol=1e-12, atol=1e-16)
    assert coarse[32].abs().max() < 1e-16, "no Nyquist mode"


def test_the_ring_is_centred_on_the_boundary():
    q = heat_source("boundary", 64, 0.05)
    mirrored = q.flip(0).roll(1, 0)  # x1 -> -x1
    torch.testing.assert_close(mirrored, q, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(q.T, q, rtol=1e-12, atol=1e-15)


def test_the_ring_is_where_it_is_told_to_be():
    """A fine grid resolves it: about 0.1 inside and 0 outside, except for the ripples of a truncated series."""
    q = heat_source("boundary", 1024, 0.1)
    x = torch.arange(1024, dtype=torch.float64) / 1024
    distance = torch.minimum(x, 1 - x)
    distance = torch.minimum(distance[:, None], distance)
    assert (q[distance < 0.09] - 0.1).abs().max() < 0.005
    assert q[distance > 0.11].abs().max() < 0.005


def test_a_ring_of_half_the_side_is_everywhere():
    torch.testing.assert_close(heat_source("boundary", 32, 0.5), heat_source("uniform", 32), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.6])
def test_a_width_outside_the_square_is_refused(width):
    with pytest.raises(ValueError, match="must be above 0, and at most"):
        heat_source("boundary", 32, width)


def test_a_solution_is_the_same_function_on_two_grids():
    u0 = torch.zeros(1, 32, 32, dtype=torch.float64), torch.zeros(1, 64, 64, dtype=torch.float64)
    coarse, fine = (solve_heat(u, 1e-2, [3.0], heat_source("boundary", len(u[0]), 0.05))[0, 0] for u in u0)
    assert fine.std() > 1e-3
    shown = torch.arange(-15, 16)
    modes = [torch.fft.fft2(frame, norm="forward")[shown][:, shown] for frame in (coarse, fine)]
    torch.testing.assert_close(*modes, rtol=1e-12, atol=1e-16)


def test_another_source_is_refused():
    with pytest.raises(ValueError, match="'boundary', 'uniform'"):
        heat_source("walls", 8)
