"""Predictors of later frames: each is exact where it should be, on a finer grid too."""

from math import exp, pi
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kiti.data.heat import HeatData
from kiti.data.navier_stokes import NavierStokesData
from kiti.data.trivial.interpolation import on_grid
from kiti.data.trivial.trivial_frames import laminar_response, predicted_frames
from kiti.pde.heat_solver import solve_heat
from kiti.pde.navier_stokes_solver import INITIAL_VORTICITY, paper_forcing, solve_navier_stokes

TIMES = [1.0, 2.0, 3.0, 4.0, 5.0]


def fields(samples: int, points: int, stream: int) -> Tensor:
    """With waves that 8 points show."""
    return on_grid(INITIAL_VORTICITY.sample(8, (0, stream), range(samples)), points, [1, 2])


def warmed(samples: int, points: int, stream: int) -> tuple[Tensor, Tensor]:
    """Two frames of the heat equation with a source, and the next three."""
    source = on_grid(INITIAL_VORTICITY.sample(8, (7, 7), [0])[0], points, [0, 1])
    frames = solve_heat(fields(samples, points, stream), 1e-2, TIMES, source)
    return frames[:, :2], frames[:, 2:]


@pytest.mark.parametrize("points", [8, 16])
def test_ridge_regression_is_exact_for_the_heat_equation(points: int) -> None:
    """Its later frames are an affine map of the earlier ones."""
    given, target = warmed(10, points, 1)
    found = predicted_frames(warmed(150, 8, 0), given)
    torch.testing.assert_close(found["ridge"], target, rtol=1e-5, atol=1e-5)
    for name in ("persistence", "extrapolation", "target_mean"):
        assert (found[name] - target).abs().max() > 0.01, name


def test_what_the_training_grid_does_not_show_stays() -> None:
    x = torch.arange(16, dtype=torch.float64) / 16
    unseen = (2 * pi * 5 * x).sin() + (2 * pi * 3 * x).sin()  # which cancel at every other point
    given, target = warmed(4, 16, 1)
    assert unseen[::2].abs().max() < 1e-12
    found = predicted_frames(warmed(150, 8, 0), given + unseen)
    torch.testing.assert_close(found["ridge"], target + unseen, rtol=1e-5, atol=1e-5)


def test_a_line_in_time_is_exact_for_the_extrapolation() -> None:
    start, slope = fields(2, 16, 0), fields(2, 16, 1)
    frames = torch.stack([start + t * slope for t in range(6)], dim=1)
    train = (torch.zeros(3, 2, 8, 8), torch.zeros(3, 4, 8, 8))
    found = predicted_frames(train, frames[:, :2])
    torch.testing.assert_close(found["extrapolation"], frames[:, 2:])
    assert all(torch.equal(frame, frames[:, 1]) for frame in found["persistence"].unbind(1))


def test_a_single_frame_cannot_be_extrapolated() -> None:
    train = (torch.zeros(3, 1, 8, 8), torch.zeros(3, 4, 8, 8))
    assert set(predicted_frames(train, torch.zeros(2, 1, 8, 8))) == {"persistence", "target_mean", "ridge"}


def test_the_mean_of_the_targets_keeps_their_times() -> None:
    given, target = warmed(5, 8, 0)
    found = predicted_frames((given, target), warmed(2, 16, 1)[0])["target_mean"]
    torch.testing.assert_close(found[:, :, ::2, ::2], target.mean(0).expand(2, -1, -1, -1))


@pytest.mark.parametrize("start", [0.0, 3.0])
def test_the_laminar_response_is_exact_for_a_laminar_flow(start: float) -> None:
    """From rest, or from another flow along the same lines; a sine and a cosine of unequal strength."""
    x = torch.arange(16, dtype=torch.float64) / 16
    w0 = start * (2 * pi * (x[:, None] + x)).sin()[None]
    frames = solve_navier_stokes(w0, 1e-3, TIMES, paper_forcing(16))
    found = laminar_response(frames[:, :2], 3, 1e-3)
    torch.testing.assert_close(found, frames[:, 2:], rtol=1e-9, atol=1e-9)


def test_the_rest_of_the_flow_stays() -> None:
    rest = (2 * pi * torch.arange(8, dtype=torch.float64) / 8).cos().expand(8, 8)
    found = laminar_response(rest[None, None], 2, 1e-3)
    rate = 8e-3 * pi**2
    for ahead, frame in enumerate(found[0], start=1):
        torch.testing.assert_close(frame - rest, (1 - exp(-rate * ahead)) / rate * paper_forcing(8))


@pytest.mark.parametrize(("kind", "more"), [(HeatData, set()), (NavierStokesData, {"laminar"})])
def test_the_data_hand_them_their_own_sets(
    kind: type[HeatData] | type[NavierStokesData], more: set[str], tmp_path: Path
) -> None:
    data = kind(
        data_dir=tmp_path, n_train=6, n_test=2, grid=32, resolution=8, test_resolution=16, frames_in=2, frames_out=3,
        progress=lambda *_: None,
    )  # fmt: skip
    found = data.trivial_predictions()
    assert set(found) == {"persistence", "extrapolation", "target_mean", "ridge"} | more
    _, (given, target), _ = data.load()
    for predicted, truth in found.values():
        assert torch.equal(truth, target)
        assert (predicted.shape, predicted.dtype) == (target.shape, torch.float32)
    assert torch.equal(found["persistence"][0][:, 2], given[:, -1])
