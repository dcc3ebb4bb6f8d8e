"""Burgers: random fields against their formula, the solver against the exact solution, the data modules."""

from itertools import pairwise
from math import pi
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.io import savemat
from torch import Tensor

from kiti.data import DataError
from kiti.data.burgers import BurgersData
from kiti.data.burgers_mat import BurgersMat
from kiti.pde.burgers_solver import DEFAULT_STEPS, INITIAL_CONDITIONS, solve_burgers
from kiti.pde.etdrk4 import ETDRK4
from kiti.pde.gaussian_field import PeriodicGaussianField, half_space_modes

VORTICITY = PeriodicGaussianField(amplitude=7**1.5, tau_squared=49.0, alpha=2.5, dims=2)  # KITINet F.2


def relative_error(u: Tensor, reference: Tensor) -> Tensor:
    return (u - reference).norm(dim=-1) / reference.norm(dim=-1)  # (B,)


def cole_hopf(u0: Tensor, viscosity: float, time: float) -> Tensor:
    """The exact solution at `time` on u0's grid, (B, grid) -> (B, grid).

    u = m + w(x − m t, t) with m the mean; w = −2ν φ_x / φ turns Burgers into the heat equation φ_t = ν φ_xx with
    φ(x, 0) = exp(−∫w / 2ν), which decays mode by mode.
    """
    grid = u0.shape[-1]
    ik = 2j * pi * torch.arange(grid // 2 + 1, dtype=torch.float64)
    ik[-1] = 0  # the Nyquist mode has no derivative on the grid
    mean = u0.mean(-1, keepdim=True)
    w_hat = torch.fft.rfft(u0 - mean)
    primitive = torch.fft.irfft(torch.where(ik != 0, w_hat / torch.where(ik != 0, ik, 1), 0), n=grid)
    phi = torch.fft.rfft(torch.exp(-primitive / (2 * viscosity)))
    phi = phi * torch.exp(viscosity * (ik**2).real * time) * torch.exp(-ik * mean * time)
    return mean - 2 * viscosity * torch.fft.irfft(ik * phi, n=grid) / torch.fft.irfft(phi, n=grid)


# Random fields


@pytest.mark.parametrize("field", [INITIAL_CONDITIONS, VORTICITY], ids=["burgers", "vorticity"])
def test_each_mode_has_the_variance_of_the_formula(field: PeriodicGaussianField) -> None:
    samples = 4000
    u = field.sample(8, (3,), range(samples))
    axes = tuple(range(1, field.dims + 1))
    coefficients = np.fft.fftn(u.numpy(), axes=axes, norm="forward")  # (samples, 8, …)
    k = np.meshgrid(*[np.fft.fftfreq(8, 1 / 8)] * field.dims, indexing="ij")
    eigenvalues = sum((2 * pi * component) ** 2 for component in k)
    expected = field.amplitude * (eigenvalues + field.tau_squared) ** -field.alpha
    on_grid = np.all(np.abs(k) < 4, axis=0)
    ratio = (np.abs(coefficients) ** 2).mean(0)[on_grid] / expected[on_grid]
    # A mean of squares of n normals has deviation sqrt(2/n) at most; 5 of those over 7 or 49 modes.
    assert np.abs(ratio - 1).max() < 5 * (2 / samples) ** 0.5
    assert np.abs(coefficients[:, ~on_grid]).max() < 1e-14
    # Cosine and sine parts are independent, E c_k² = 0 unless k = 0, and so are different modes.
    pseudo = np.abs((coefficients**2).mean(0))[on_grid & (eigenvalues > 0)] / expected[on_grid & (eigenvalues > 0)]
    assert pseudo.max() < 5 * (2 / samples) ** 0.5
    one, other = coefficients[(slice(None), *[1] * field.dims)], coefficients[(slice(None), *[2] * field.dims)]
    assert abs(np.corrcoef(one.real, other.real)[0, 1]) < 5 / samples**0.5
    assert abs(coefficients.mean(0)[on_grid] / expected[on_grid] ** 0.5).max() < 5 / samples**0.5


def test_burgers_constants_match_the_paper() -> None:
    field = INITIAL_CONDITIONS
    assert field.variances(torch.tensor([[0], [1]])).tolist() == pytest.approx([1.0, 625 / (4 * pi**2 + 25) ** 2])


@pytest.mark.parametrize("field", [INITIAL_CONDITIONS, VORTICITY], ids=["burgers", "vorticity"])
def test_a_sample_depends_only_on_seed_and_index(field: PeriodicGaussianField) -> None:
    five = field.sample(8, (0, 1), range(5))
    assert torch.equal(field.sample(8, (0, 1), [3, 1]), five[[3, 1]])
    assert not torch.equal(field.sample(8, (1, 0), range(5)), five)
    assert len({tuple(sample.ravel().tolist()) for sample in five}) == 5


@pytest.mark.parametrize(("dims", "grids"), [(1, (7, 8, 64)), (2, (5, 6, 16)), (3, (3, 4, 6))])
def test_grids_sample_the_same_function(dims: int, grids: tuple[int, ...]) -> None:
    field = PeriodicGaussianField(amplitude=1.0, tau_squared=9.0, alpha=2.0, dims=dims)
    axes = tuple(range(1, dims + 1))
    finest = np.fft.fftn(field.sample(grids[-1], (0,), range(3)).numpy(), axes=axes, norm="forward")
    for grid in grids[:-1]:
        spectrum = np.fft.fftn(field.sample(grid, (0,), range(3)).numpy(), axes=axes, norm="forward")
        for k in half_space_modes(dims, (grid - 1) // 2).tolist():
            np.testing.assert_allclose(spectrum[:, *k], finest[:, *k], atol=1e-15)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_half_space_holds_one_wave_of_each_pair(dims: int) -> None:
    modes = [tuple(k) for k in half_space_modes(dims, 3).tolist()]
    assert modes[0] == (0,) * dims
    both = set(modes) | {tuple(-a for a in k) for k in modes}
    assert len(both) == 7**dims == 2 * len(modes) - 1
    coarse = half_space_modes(dims, 2)
    assert torch.equal(half_space_modes(dims, 3)[: len(coarse)], coarse)


# Time stepping


def test_etdrk4_has_order_four_with_a_complex_stiff_part() -> None:
    linear = torch.tensor([-50.0 + 3.0j, 2.0j, 0.0], dtype=torch.complex128)
    start = torch.tensor([0.0, 1.0, 0.5], dtype=torch.complex128)

    def nonlinear(v: Tensor) -> Tensor:
        return torch.stack([v[1] * v[2], -v[1] * v[1].abs() ** 2, 0.3j * v[1]])

    exact = solve_ivp(
        lambda _, v: (linear * torch.from_numpy(v) + nonlinear(torch.from_numpy(v))).numpy(),
        (0, 1),
        start.numpy(),
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
    ).y[:, -1]
    errors = []
    for steps in (20, 40):
        advance = ETDRK4(linear, 1 / steps)
        v = start
        for _ in range(steps):
            v = advance(v, nonlinear)
        errors.append(np.abs(v.numpy() - exact).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)


def test_etdrk4_coefficients_near_zero_match_rk4() -> None:
    # h L → 0: weights 1/6, 1/3, 1/3, 1/6 and half a step; the plain formulas lose all precision at 1e-9.
    advance = ETDRK4(torch.tensor([-1e-9, 0.0], dtype=torch.float64), 1.0)
    for weight, limit in [
        (advance.half_weight, 1 / 2),
        (advance.first, 1 / 6),
        (advance.middle, 1 / 3),
        (advance.last, 1 / 6),
    ]:
        torch.testing.assert_close(weight, torch.full_like(weight, limit), rtol=2e-9, atol=0)


# The solver


@pytest.mark.parametrize(("grid", "samples"), [(1024, 32), (8192, 3)])
def test_solver_agrees_with_cole_hopf(grid: int, samples: int) -> None:
    u0 = INITIAL_CONDITIONS.sample(grid, (11,), range(samples))
    u = solve_burgers(u0, viscosity=0.1, time=1.0)
    assert relative_error(u, cole_hopf(u0, 0.1, 1.0)).max() < 1e-8


def test_solver_has_order_four_in_time() -> None:
    u0 = INITIAL_CONDITIONS.sample(128, (11,), range(8))
    reference = solve_burgers(u0, viscosity=0.1, time=1.0, steps=400)
    errors = [(solve_burgers(u0, 0.1, 1.0, steps) - reference).norm() for steps in (20, 40, 80)]
    orders = [torch.log2(coarse / fine).item() for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([4, 4], abs=0.35)


def test_a_moving_mean_against_an_independent_solver() -> None:
    """scipy on the original equation without moving frame: the shift cannot have the wrong sign in both."""
    grid, viscosity, time = 48, 0.05, 0.5
    x = np.arange(grid) / grid
    u0 = 1.3 + np.sin(2 * pi * x) + 0.5 * np.cos(4 * pi * x)
    ik = 2j * pi * np.fft.rfftfreq(grid, 1 / grid)
    ik[-1] = 0

    def right_hand_side(_: float, u: np.ndarray) -> np.ndarray:
        return np.fft.irfft(-ik * np.fft.rfft(u**2 / 2) + viscosity * ik**2 * np.fft.rfft(u), n=grid)

    exact = solve_ivp(right_hand_side, (0, time), u0, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    u = solve_burgers(torch.from_numpy(u0)[None], viscosity, time)
    assert relative_error(u, torch.from_numpy(exact)[None]).max() < 1e-6  # 16 modes resolve it to that accuracy
    shift_ignored = solve_burgers(torch.from_numpy(u0)[None] - 1.3, viscosity, time) + 1.3
    assert relative_error(shift_ignored, torch.from_numpy(exact)[None]).max() > 0.1


def test_mean_is_conserved_and_energy_decays() -> None:
    u0 = INITIAL_CONDITIONS.sample(256, (5,), range(16))
    energies = [u0.square().mean(-1)]
    for time in (0.01, 0.1, 1.0):
        u = solve_burgers(u0, 0.1, time, steps=40)
        torch.testing.assert_close(u.mean(-1), u0.mean(-1), rtol=0, atol=1e-14)
        energies.append(u.square().mean(-1))
    assert all((later < earlier).all() for earlier, later in pairwise(energies))


def test_a_constant_is_preserved_and_a_sine_decays_under_strong_viscosity() -> None:
    x = torch.arange(32, dtype=torch.float64) / 32
    u0 = torch.stack([torch.full_like(x, 2.5), 1e-6 * torch.sin(2 * pi * x)])
    u = solve_burgers(u0, 0.1, 1.0, steps=20)
    torch.testing.assert_close(u[0], u0[0], rtol=0, atol=1e-14)
    torch.testing.assert_close(u[1], u0[1] * np.exp(-0.1 * (2 * pi) ** 2), rtol=1e-5, atol=1e-15)


def test_a_single_mode_that_steepens() -> None:
    """The number of active modes first grows: the solver must follow it up as well as down."""
    x = torch.arange(1024, dtype=torch.float64) / 1024
    u0 = torch.stack([torch.sin(2 * pi * x), 0.5 + torch.cos(2 * pi * x) + torch.sin(6 * pi * x)])
    for time in (0.15, 1.0):
        u = solve_burgers(u0, 0.01, time, steps=600)
        assert relative_error(u, cole_hopf(u0, 0.01, time)).max() < 1e-8


def test_divergence_is_an_error() -> None:
    u0 = 100 * torch.sin(2 * pi * torch.arange(256, dtype=torch.float64) / 256)[None]
    with pytest.raises(FloatingPointError, match="diverged in 10 steps"):
        solve_burgers(u0, 0.01, 1.0, steps=10)


def test_grid_refinement() -> None:
    fine, coarse = (
        solve_burgers(INITIAL_CONDITIONS.sample(grid, (2,), range(2)), 0.1, 1.0, steps=50) for grid in (8192, 1024)
    )
    # The same functions; viscosity removes the modes above 341, which the coarse grid lacks.
    assert relative_error(coarse, fine[:, ::8]).max() < 1e-8


def test_a_sample_does_not_depend_on_its_batch_and_progress_is_reported() -> None:
    u0 = INITIAL_CONDITIONS.sample(2048, (2,), range(70))  # several chunks
    progress_calls: list[tuple[int, int]] = []
    u = solve_burgers(u0, 0.1, 1.0, steps=5, progress=lambda done, total: progress_calls.append((done, total)))
    assert progress_calls == [(n, 5) for n in range(1, 6)]
    for part in (slice(0, 1), slice(60, 70)):
        torch.testing.assert_close(solve_burgers(u0[part], 0.1, 1.0, steps=5), u[part], rtol=1e-12, atol=1e-13)
    assert solve_burgers(u0[:0], 0.1, 1.0, steps=5).shape == (0, 2048)


# The data modules


def burgers(data_dir: Path, **kwargs: object) -> BurgersData:
    settings = {"n_train": 6, "n_test": 4, "resolution": 32, "grid": 128, "steps": 20, "batch_size": 4}
    return BurgersData(data_dir, **{**settings, **kwargs})


def test_batches_hold_initial_and_final_states(tmp_path: Path) -> None:
    data = burgers(tmp_path, steps=DEFAULT_STEPS)
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [len(u0) for u0, _ in batches] == [4, 2]
    for u0, u in batches:
        assert u0.dtype == u.dtype == torch.float32
        assert u0.shape == u.shape == (len(u0), 32)
    [(u0, u)] = data.train_eval_dataloader()
    exact = INITIAL_CONDITIONS.sample(128, (0, 0), range(6))
    torch.testing.assert_close(u0, exact[:, ::4].float())
    torch.testing.assert_close(u, cole_hopf(exact, 0.1, 1.0)[:, ::4].float(), rtol=0, atol=2e-5)
    [(test_u0, _)] = data.test_dataloader()
    assert len(test_u0) == 4
    assert data.stand_in is None


def test_training_prefixes_and_a_separate_test_set(tmp_path: Path) -> None:
    many, few = burgers(tmp_path), burgers(tmp_path, n_train=2, n_test=3)
    [(many_train, many_u)], [(few_train, few_u)] = many.train_eval_dataloader(), few.train_eval_dataloader()
    [(many_test, _)], [(few_test, _)] = many.test_dataloader(), few.test_dataloader()
    assert torch.equal(few_train, many_train[:2])
    torch.testing.assert_close(few_u, many_u[:2], rtol=2e-7, atol=0)  # at most one float32 rounding apart
    assert torch.equal(few_test, many_test[:3])
    assert not (many_train[:4] == many_test).any()
    [(other, _)] = burgers(tmp_path, data_seed=1).train_eval_dataloader()
    assert not (other == many_train).any()


def test_a_second_session_reads_what_the_first_wrote(tmp_path: Path) -> None:
    progress_calls: list[tuple[int, int]] = []
    first = burgers(tmp_path, progress=lambda done, total: progress_calls.append((done, total)))
    first.prepare_data()
    assert progress_calls[-1] == (20, 20)
    progress_calls.clear()
    again = burgers(tmp_path, seed=5, batch_size=3, progress=lambda done, total: progress_calls.append((done, total)))
    again.prepare_data()
    assert progress_calls == []
    assert again.fingerprint == first.fingerprint
    assert first.fingerprint["split"] == {"train": 6, "test": 4}
    assert len(first.fingerprint["content"]) == 64
    contents = {
        burgers(tmp_path, **change).fingerprint["content"]
        for change in ({}, {"n_train": 5}, {"viscosity": 0.2}, {"data_seed": 1}, {"test_resolution": 64}, {"steps": 19})
    }
    assert len(contents) == 6


def test_another_test_resolution_samples_the_same_functions(tmp_path: Path) -> None:
    coarse, fine = burgers(tmp_path), burgers(tmp_path, test_resolution=128)
    [(u0, u)], [(fine_u0, fine_u)] = coarse.test_dataloader(), fine.test_dataloader()
    assert fine_u0.shape == (4, 128)
    assert torch.equal(fine_u0[:, ::4], u0)
    torch.testing.assert_close(fine_u[:, ::4], u, rtol=2e-7, atol=0)
    assert next(iter(fine.train_dataloader()))[0].shape == (4, 32)


@pytest.mark.parametrize("kwargs", [{"resolution": 48}, {"test_resolution": 48}, {"resolution": 256}])
def test_a_resolution_that_does_not_divide_the_grid_is_named(kwargs: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"grid 128 .* {next(iter(kwargs.values()))}"):
        burgers(tmp_path, **kwargs)


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    rows = np.arange(10)[:, None] * 1000.0 + np.arange(64)
    savemat(tmp_path / "burgers.mat", {"a": rows, "u": -rows, "t": np.zeros(1)})
    return tmp_path / "burgers.mat"


def test_published_file(mat: Path) -> None:
    data = BurgersMat(mat, n_train=3, n_test=2, resolution=16, test_resolution=32)
    data.setup()
    [(a, u)] = data.train_eval_dataloader()
    assert a.dtype == torch.float32
    assert a[:, 0].tolist() == [0, 1000, 2000]
    assert a[1].tolist() == [1000.0 + 4 * i for i in range(16)]
    assert torch.equal(u, -a)
    [(a, _)] = data.test_dataloader()
    assert a.shape == (2, 32)
    assert a[:, 1].tolist() == [8002, 9002]  # the last rows
    assert data.fingerprint["split"] == {"train": 3, "test": 2}
    content = data.fingerprint["content"]
    savemat(mat, {"a": np.zeros((10, 64)), "u": np.zeros((10, 64))})
    assert BurgersMat(mat, n_train=3, n_test=2, resolution=16).fingerprint["content"] != content


def test_errors_name_the_problem_in_a_file(mat: Path) -> None:
    with pytest.raises(DataError, match=r"data.n_train=9 and data.n_test=2: .* has only 10 rows"):
        BurgersMat(mat, n_train=9, n_test=2, resolution=16).setup()
    with pytest.raises(ValueError, match="grid 64 is not a multiple of resolution 48"):
        BurgersMat(mat, n_train=1, n_test=1, resolution=48).setup()
    savemat(mat, {"a": np.zeros((4, 8)), "u": np.zeros((4, 4))})
    with pytest.raises(ValueError, match=r"\(4, 8\) and \(4, 4\)"):
        BurgersMat(mat, n_train=1, n_test=1, resolution=4).setup()
    savemat(mat, {"a": np.zeros((4, 8))})
    with pytest.raises(ValueError, match="has no field u: expected a and u"):
        BurgersMat(mat, n_train=1, n_test=1, resolution=4).setup()
    # The first 128 bytes of a v7.3 file: text, then the version 0x0200 and the byte order.
    mat.write_bytes(b"MATLAB 7.3 MAT-file, HDF5".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"v7\.3 \(HDF5\) file: convert"):
        BurgersMat(mat, n_train=1, n_test=1, resolution=4).setup()
