"""Periodic functions on other grids and at shifted points, by their trigonometric interpolants."""

from collections.abc import Iterable
from math import lcm, pi

import torch
from jaxtyping import Float
from torch import Tensor


def on_grid(fields: Float[Tensor, "..."], points: int, axes: Iterable[int]) -> Float[Tensor, "..."]:
    """The interpolants of `fields` at `points` equally spaced points of each of the axes, beginning at x = 0.

    Where the grid contains these points, the values are those of `fields`.
    """
    for axis in axes:
        now = fields.shape[axis]
        fine = lcm(now, points)
        fields = fields.movedim(axis, -1)
        if fine != now:
            spectrum = torch.fft.rfft(fields, norm="forward")
            if now % 2 == 0:
                spectrum[..., -1] /= 2  # a cosine on both grids: half of it at each of ±now / 2
            fields = torch.fft.irfft(spectrum, n=fine, norm="forward")
        fields = fields[..., :: fine // points].movedim(-1, axis)
    return fields


def shifted(u: Float[Tensor, "n points"], distance: Float[Tensor, "n"]) -> Float[Tensor, "n points"]:
    """u(x − distance) for x in (0, 1), in float64; a distance for each row."""
    k = torch.arange(u.shape[1] // 2 + 1, dtype=torch.float64)
    phase = torch.exp(-2j * pi * k * distance.double()[:, None])
    return torch.fft.irfft(torch.fft.rfft(u.double()) * phase, n=u.shape[1])
