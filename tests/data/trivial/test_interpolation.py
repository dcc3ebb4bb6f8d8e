"""Trigonometric interpolants: exact for waves that both grids show, the given values where the grids meet."""

from math import pi

import pytest
import torch
from torch import Tensor

from kiti.data.trivial.interpolation import on_grid, shifted


def waves(points: int, shift: float = 0.0) -> Tensor:
    x = torch.arange(points, dtype=torch.float64) / points - shift
    return torch.stack([1 + (2 * pi * x).sin(), (2 * pi * 3 * x).cos() - 2 * (2 * pi * 2 * x).sin()])


@pytest.mark.parametrize("points", [8, 16, 24, 12, 9])
def test_waves_are_exact_on_finer_and_coarser_grids(points: int) -> None:
    torch.testing.assert_close(on_grid(waves(16), points, [1]), waves(points))


def test_a_coarser_grid_holds_the_given_values() -> None:
    fields = torch.randn(3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(on_grid(fields, 4, [1, 2]), fields[:, ::3, ::3])
    assert torch.equal(on_grid(fields, 12, [1, 2]), fields)
    torch.testing.assert_close(on_grid(fields, 24, [1, 2])[:, ::2, ::2], fields)


def test_both_axes_are_interpolated() -> None:
    fine = on_grid(waves(8)[0][:, None] * waves(8)[1], 16, [0, 1])
    torch.testing.assert_close(fine, waves(16)[0][:, None] * waves(16)[1])


def test_each_row_is_shifted_by_its_distance() -> None:
    found = shifted(waves(16), torch.tensor([0.3, -1.7], dtype=torch.float64))
    expected = torch.stack([waves(16, 0.3)[0], waves(16, -1.7)[1]])
    torch.testing.assert_close(found, expected)
