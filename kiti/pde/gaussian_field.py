"""Periodic Gaussian random fields, drawn mode by mode so that a sample is the same function on any grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import pi

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor


@dataclass(frozen=True)
class PeriodicGaussianField:
    """The measure N(0, amplitude · (−Δ + tau_squared · I)^(−alpha)) on the unit torus (0, 1)^dims.

    −Δ has the eigenfunctions e^{2πi k·x} and eigenvalues (2π|k|)², so the coefficient of mode k ∈ Z^dims in

        u(x) = Σ_k c_k e^{2πi k·x},   c_{−k} = conj(c_k),

    has E|c_k|² = amplitude · ((2π|k|)² + tau_squared)^(−alpha).

    The constant mode is drawn like the others (A35): a sample's mean is not zero.

    >>> PeriodicGaussianField(amplitude=625.0, tau_squared=25.0, alpha=2.0)  # Burgers, KITINet F.1
    >>> PeriodicGaussianField(amplitude=7**1.5, tau_squared=49.0, alpha=2.5, dims=2)  # vorticity, KITINet F.2
    """

    amplitude: float
    tau_squared: float
    alpha: float
    dims: int = 1

    def variances(self, modes: Int64[Tensor, "modes dims"]) -> Float64[Tensor, " modes"]:
        """E|c_k|² for each integer wave vector k."""
        eigenvalues = (2 * pi) ** 2 * modes.double().square().sum(-1)
        return self.amplitude * (eigenvalues + self.tau_squared) ** -self.alpha

    def sample(self, grid: int, seed: Sequence[int], samples: Sequence[int]) -> Float64[Tensor, "batch *grid"]:
        """Draw the samples numbered `samples` at the points x = j / grid of every axis.

        Sample i depends only on (seed, i), not on the other requested samples. Modes are drawn from low to high, so
        two grids show the same function, truncated at each grid's highest mode. The Nyquist mode of an even grid is
        left out: its sine is zero on the grid.

        Args:
            grid: points along each axis, at least 1.
            seed: non-negative integers that identify the stream, such as `(data_seed, split)`.
            samples: indices into that stream.
        """
        modes = half_space_modes(self.dims, (grid - 1) // 2)
        deviations = self.variances(modes).sqrt()

        noise = np.empty((len(samples), 1 + 2 * (len(modes) - 1)))
        for row, i in enumerate(samples):
            noise[row] = np.random.default_rng([*seed, i]).standard_normal(noise.shape[1])
        normals = torch.from_numpy(noise)

        # A conjugate pair uses two real normals, each with half of the variance; the constant mode is real.
        coefficients = torch.complex(normals[:, 1::2], normals[:, 2::2]) * (deviations[1:] / 2**0.5)
        coefficients = torch.cat([normals[:, :1] * deviations[0], coefficients], dim=1)  # (B, modes)

        # irfftn expects half the spectrum along the last axis; its plane k_last = 0 contains both k and −k.
        spectrum = torch.zeros(
            len(samples), *[grid] * (self.dims - 1), grid // 2 + 1, dtype=coefficients.dtype
        )  # (B, grid, …, grid // 2 + 1)
        on_plane = modes[:, -1] == 0
        spectrum[_at(-modes[on_plane], grid)] = coefficients[:, on_plane].conj()
        spectrum[_at(modes, grid)] = coefficients
        return torch.fft.irfftn(spectrum, s=[grid] * self.dims, dim=list(range(1, self.dims + 1)), norm="forward")


def _at(modes: Tensor, grid: int) -> tuple[slice | Tensor, ...]:
    """The index of these modes in a batch of FFT spectra."""
    return (slice(None), *modes.remainder(grid).unbind(-1))


@lru_cache(maxsize=4)
def half_space_modes(dims: int, highest: int) -> Int64[Tensor, "modes dims"]:
    """One mode of each pair ±k with max|k_a| ≤ highest, from low to high; the first is k = 0.

    Ordered by max|k_a|, so the list for a smaller `highest` is a prefix of the list for a larger one.
    """
    axis = np.arange(-highest, highest + 1)
    grids = np.meshgrid(*[axis] * (dims - 1), np.arange(highest + 1), indexing="ij")
    modes = np.stack([g.ravel() for g in grids], axis=-1)
    # Of each pair on the plane k_last = 0, keep the mode whose last non-zero component is positive.
    sign = np.zeros(len(modes), dtype=int)
    for component in modes.T:
        sign = np.where(component != 0, np.sign(component), sign)
    modes = modes[(sign > 0) | (np.abs(modes).sum(-1) == 0)]
    order = np.lexsort((*modes.T, np.abs(modes).max(-1)))
    return torch.from_numpy(modes[order])
