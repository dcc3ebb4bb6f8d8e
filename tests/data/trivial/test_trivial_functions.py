"""Predictors of Burgers' solution: each is exact where it should be, at the test set's own resolution too."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kiti.data.burgers import BurgersData
from kiti.data.trivial.interpolation import on_grid, shifted
from kiti.data.trivial.trivial_functions import predicted_functions
from kiti.pde.burgers_solver import INITIAL_CONDITIONS

TIME = 0.7


def functions(samples: int, points: int, stream: int) -> Tensor:
    """With at most seven waves, so that 16 points show all of them."""
    return on_grid(INITIAL_CONDITIONS.sample(16, (0, stream), range(samples)), points, [1])


def smoothed(u0: Tensor) -> Tensor:
    """A linear map that keeps the mean and the grid."""
    spectrum = torch.fft.rfft(u0)
    return torch.fft.irfft(spectrum * torch.exp(-0.3 * torch.arange(spectrum.shape[1])), n=u0.shape[1])


@pytest.mark.parametrize("points", [16, 32])
def test_a_linear_map_in_a_moving_frame_is_exact_for_the_ridge_that_moves(points: int) -> None:
    """The last one, which ridge regression at rest cannot know: pure advection is the map to u0 itself."""
    train, given = functions(60, 16, 0), functions(10, points, 1)
    for linear in (smoothed, torch.clone):

        def carried(u0: Tensor, linear=linear) -> Tensor:
            return shifted(linear(u0), TIME * u0.mean(1))

        found = predicted_functions((train, carried(train)), given, TIME)
        torch.testing.assert_close(found["moving_ridge"], carried(given), rtol=1e-6, atol=1e-6)
        at_rest = (found["ridge"] - carried(given)).norm() / carried(given).norm()
        assert at_rest > 0.01


@pytest.mark.parametrize("points", [16, 32])
def test_a_linear_map_is_exact_for_ridge_regression(points: int) -> None:
    train, given = functions(60, 16, 0), functions(10, points, 1)
    found = predicted_functions((train, smoothed(train)), given, TIME)
    torch.testing.assert_close(found["ridge"], smoothed(given), rtol=1e-6, atol=1e-6)


def test_the_constants() -> None:
    train, given = functions(5, 16, 0), functions(3, 32, 1)
    found = predicted_functions((train, 2 * train), given, TIME)
    assert torch.equal(found["persistence"], given)
    torch.testing.assert_close(found["input_mean"], given.mean(1, keepdim=True).expand(3, 32))
    torch.testing.assert_close(found["target_mean"][:, ::2], 2 * train.mean(0).expand(3, 16))


def test_burgers_hands_them_its_own_sets(tmp_path: Path) -> None:
    data = BurgersData(
        tmp_path, n_train=30, n_test=6, resolution=16, test_resolution=32, grid=64, steps=20, progress=lambda *_: None
    )
    found = data.trivial_predictions()
    assert set(found) == {"persistence", "input_mean", "target_mean", "ridge", "moving_ridge"}
    (_, _), (given, target), _ = data.load()
    error = {}
    for name, (predicted, truth) in found.items():
        assert torch.equal(truth, target)
        assert (predicted.shape, predicted.dtype) == (target.shape, torch.float32)
        error[name] = float(((predicted - target).norm(dim=1) / target.norm(dim=1)).median())
    assert torch.equal(found["persistence"][0], given)
    assert error["moving_ridge"] < error["input_mean"] < error["persistence"]
    assert error["moving_ridge"] < error["ridge"]
