"""The heat equation with a steady source on the unit torus, each Fourier mode in closed form (KITINet F.3)."""

from collections.abc import Sequence
from math import pi

import torch
from jaxtyping import Float64
from torch import Tensor

SOLVER_VERSION = 1
"""Part of every data set's recipe: increase it when a change here alters results beyond rounding."""

SOURCES = ("boundary", "uniform")


def heat_source(
    kind: str, grid: int, width: float | None = None, strength: float = 0.1
) -> Float64[Tensor, "grid grid"]:
    """q. F.3 says "q on the boundary = 0.1", but a torus has no boundary (A18).

    "boundary": `strength` nearer than `width` to the boundary of the unit square, 0 inside; "uniform": `strength`
    everywhere. Raises ValueError for any other kind.

    Without a width the ring is the outermost points of the grid, so that its strength depends on the grid. With one, it
    is on the torus two bands of width 2 `width`, around the lines x1 = 0 and x2 = 0. With χ the indicator of a
    band in one dimension,

        q = strength (1 − (1 − χ(x1)) (1 − χ(x2))),   χ̂_k = 2 width sinc(2 width k),

    and χ is truncated at the grid's highest mode, without Nyquist's, as initial fields are. So the mean of q,
    strength (1 − (1 − 2 width)²), and the modes of the solution are the same on every grid, whether or not a grid has
    points in the ring (A46).
    """
    if kind not in SOURCES:
        raise ValueError(f"source={kind!r}: must be one of {', '.join(map(repr, SOURCES))}")
    if width is not None and not 0 < width <= 0.5:
        raise ValueError(f"width={width}: must be above 0, and at most 0.5, where the ring fills the square")
    if kind == "uniform":
        return torch.full((grid, grid), strength, dtype=torch.float64)
    if width is None:
        ring = torch.full((grid, grid), strength, dtype=torch.float64)
        ring[1:-1, 1:-1] = 0
        return ring
    k = torch.arange((grid - 1) // 2 + 1, dtype=torch.float64)
    band = torch.zeros(grid // 2 + 1, dtype=torch.complex128)
    band[: len(k)] = 2 * width * torch.sinc(2 * width * k)
    outside = 1 - torch.fft.irfft(band, n=grid, norm="forward")
    return strength * (1 - outside[:, None] * outside)


def solve_heat(
    u0: Float64[Tensor, "batch grid grid"],
    diffusivity: float,
    times: Sequence[float],
    source: Float64[Tensor, "grid grid"],
    every: int = 1,
) -> Float64[Tensor, "batch frames kept kept"]:
    """Solve u_t = α Δu + q on (0, 1)² periodic from u0 at t = 0; exact for the trigonometric interpolants of u0 and q.

        û_k(t) = e^(−λt) û_k(0) + t φ(λt) q̂_k,   λ = α (2π|k|)²,   φ(z) = (1 − e^(−z)) / z,   φ(0) = 1

    Args:
        u0: at x = j / grid on both axes, float64.
        diffusivity: α ≥ 0, length²/time.
        times: of the frames, in any order, at least 0.
        source: q, in units of u / time.
        every: keep every `every`-th point of both axes.
    """
    grid = u0.shape[-1]
    k1 = torch.fft.fftfreq(grid, 1 / grid, dtype=torch.float64, device=u0.device)[:, None]
    k2 = torch.fft.rfftfreq(grid, 1 / grid, dtype=torch.float64, device=u0.device)
    rate = diffusivity * (2 * pi) ** 2 * (k1**2 + k2**2)
    u_hat, q_hat = torch.fft.rfft2(u0), torch.fft.rfft2(source.to(u0.device))
    frames = [
        torch.fft.irfft2(torch.exp(-rate * t) * u_hat + _integral(rate, t) * q_hat, s=(grid, grid))[:, ::every, ::every]
        for t in times
    ]
    return torch.stack(frames, dim=1)


def _integral(rate: Tensor, time: float) -> Tensor:
    """∫ e^(−rate s) ds over (0, time), accurate for small rates."""
    return torch.where(rate > 0, -torch.expm1(-rate * time) / torch.where(rate > 0, rate, 1.0), time)
