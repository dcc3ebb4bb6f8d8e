"""The Navier-Stokes solver: exact solutions, budgets, order, and its initial field."""

from math import pi

import pytest
import torch

from kiti.pde.gaussian_field import half_space_modes
from kiti.pde.navier_stokes_solver import INITIAL_VORTICITY, halving_difference, paper_forcing, solve_navier_stokes


def grids(points):
    x = torch.arange(points, dtype=torch.float64) / points
    return torch.meshgrid(x, x, indexing="ij")


def random_vorticity(points, samples=2, scale=20.0):
    return scale * INITIAL_VORTICITY.sample(points, (3,), range(samples))


@pytest.mark.parametrize("wave", [1, 2])
def test_taylor_green_vortices_only_decay(wave):
    x1, x2 = grids(32)
    w0 = (2 * pi * wave * x1).cos() * (2 * pi * wave * x2).cos()
    viscosity, times = 0.01, [0.0, 0.5, 1.5]
    frames = solve_navier_stokes(w0[None], viscosity, times)[0]
    for time, frame in zip(times, frames, strict=True):
        decay = torch.exp(torch.tensor(-2 * viscosity * (2 * pi * wave) ** 2 * time, dtype=torch.float64))
        torch.testing.assert_close(frame, decay * w0, rtol=0, atol=1e-13)


def test_a_shear_flow_advects_a_small_disturbance():
    """Linearised about u = (sin 2π x2, 0): tests of decay do not show the direction of rotation."""
    x1, x2 = grids(64)
    shear = -2 * pi * (2 * pi * x2).cos()  # −∂2 u1
    small = 1e-6 * (2 * pi * x1).cos()
    with_it, without = solve_navier_stokes(torch.stack([shear + small, shear]), 1e-3, [0.01])[:, 0]
    carried = with_it - without
    # Shortly after: −u1 ∂1 w + small terms from the disturbance's own velocity, u2' = sin(2π x1) / 2π · 1e-6:
    velocity2 = 1e-6 * (2 * pi * x1).sin() / (2 * pi)
    rate = -(2 * pi * x2).sin() * -2 * pi * 1e-6 * (2 * pi * x1).sin() - velocity2 * (2 * pi) ** 2 * (2 * pi * x2).sin()
    rate = rate - 1e-3 * (2 * pi) ** 2 * small
    torch.testing.assert_close((carried - small) / 0.01, rate, rtol=0, atol=0.05 * float(rate.abs().max()))


def test_forcing_along_one_wave_from_rest_is_exact():
    """f depends only on x1 + x2, so does w, and u·∇w = 0: each mode relaxes to f / (ν k²)."""
    viscosity, time = 1e-3, 7.0
    forcing = paper_forcing(16)
    rate = viscosity * 2 * (2 * pi) ** 2
    expected = forcing * (1 - torch.exp(torch.tensor(-rate * time, dtype=torch.float64))) / rate
    found = solve_navier_stokes(torch.zeros(1, 16, 16, dtype=torch.float64), viscosity, [time], forcing)[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_energy_and_enstrophy_budgets():
    """d/dt ½⟨w²⟩ = −ν⟨|∇w|²⟩ + ⟨w f⟩ and d/dt ½⟨|u|²⟩ = −ν⟨w²⟩ + ⟨ψ f⟩, by central differences of fourth order."""
    viscosity, points, h = 1e-3, 64, 1e-3
    forcing = paper_forcing(points)
    times = [0.5 + n * h for n in (-2, -1, 0, 1, 2)]
    frames = solve_navier_stokes(random_vorticity(points), viscosity, times, forcing)  # (B, 5, S, S)
    k = 2 * pi * torch.fft.fftfreq(points, 1 / points, dtype=torch.float64)
    squares = k[:, None] ** 2 + k**2
    squares[0, 0] = torch.inf
    stream = torch.fft.ifft2(torch.fft.fft2(frames) / squares).real
    squares[0, 0] = 0
    laplacian = -torch.fft.ifft2(squares * torch.fft.fft2(frames[:, 2])).real

    def change(quantity):
        return (quantity[:, 0] - 8 * quantity[:, 1] + 8 * quantity[:, 3] - quantity[:, 4]) / (12 * h)

    enstrophy, energy = frames.square().mean((-1, -2)) / 2, (stream * frames).mean((-1, -2)) / 2
    w, psi = frames[:, 2], stream[:, 2]
    expected = viscosity * (w * laplacian).mean((-1, -2)) + (w * forcing).mean((-1, -2))
    torch.testing.assert_close(change(enstrophy), expected, rtol=1e-7, atol=1e-10)
    expected = -viscosity * w.square().mean((-1, -2)) + (psi * forcing).mean((-1, -2))
    torch.testing.assert_close(change(energy), expected, rtol=1e-7, atol=1e-10)


def test_both_are_conserved_without_viscosity_and_forcing():
    w0 = random_vorticity(48)
    first, last = solve_navier_stokes(w0, 0.0, [0.0, 0.5], courant=0.25).unbind(1)
    torch.testing.assert_close(last.square().mean((1, 2)), first.square().mean((1, 2)), rtol=1e-6, atol=0)
    assert (last - first).abs().max() > 0.05 * first.abs().max()  # it moved


def test_fourth_order_in_time():
    w0, forcing = random_vorticity(32), paper_forcing(32)

    def at_end(steps):
        return solve_navier_stokes(w0, 1e-3, [1.0], forcing, courant=1e9, longest_step=1 / steps)[:, 0]

    exact = at_end(256)
    errors = [(at_end(steps) - exact).norm() for steps in (16, 32, 64)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.3)


def test_adaptive_steps_are_fine_enough():
    w0, forcing = random_vorticity(32, scale=1.0), paper_forcing(32)
    assert halving_difference(w0, 1e-3, 20.0, forcing).max() < 1e-5


def test_grid_is_fine_enough_for_the_saved_frames():
    """The same initial functions on twice the grid: the paper's flow is resolved by 64 points to four digits."""
    seeds = ((3,), range(2))
    coarse, fine = (
        solve_navier_stokes(
            INITIAL_VORTICITY.sample(n, *seeds), 1e-3, [10.0], paper_forcing(n), every=n // 16
        ) for n in (32, 64)
    )  # fmt: skip
    assert (coarse - fine).norm() / fine.norm() < 1e-2


def test_a_batch_is_solved_like_its_samples():
    w0 = random_vorticity(64, samples=6, scale=1.0)
    together = solve_navier_stokes(w0, 1e-3, [1.0, 2.0], paper_forcing(64), every=2)
    alone = torch.cat([solve_navier_stokes(w[None], 1e-3, [1.0, 2.0], paper_forcing(64), every=2) for w in w0])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6 * float(alone.abs().max()))
    assert together.shape == (6, 2, 32, 32)


def test_too_large_a_step_is_named():
    with pytest.raises(FloatingPointError, match="courant"):
        solve_navier_stokes(random_vorticity(32, scale=1e5), 1e-6, [1.0], courant=50.0, longest_step=1.0)


def test_times_must_increase():
    with pytest.raises(ValueError, match="increase"):
        solve_navier_stokes(torch.zeros(1, 8, 8, dtype=torch.float64), 1e-3, [1.0, 0.5])


def test_initial_field_has_the_covariance_of_the_formula():
    """E|c_k|² = 7^(3/2) (4π²|k|² + 49)^−5/2 of each mode, and modes are uncorrelated."""
    samples, points = 4000, 16
    field = INITIAL_VORTICITY.sample(points, (0,), range(samples))
    modes = half_space_modes(2, 3)
    c = torch.fft.fft2(field, norm="forward")[(slice(None), *modes.remainder(points).unbind(-1))]
    expected = 7**1.5 * (4 * pi**2 * modes.double().square().sum(-1) + 49) ** -2.5
    found = c.abs().square().mean(0)
    spread = expected * (2 / samples) ** 0.5  # of the mean of |c|², at most (the constant mode is real)
    assert ((found - expected).abs() < 4.5 * spread).all()
    normal = c / expected.sqrt()
    covariance = (normal.conj().T @ normal / samples).abs()
    covariance.fill_diagonal_(0)
    assert covariance.max() < 5 / samples**0.5
