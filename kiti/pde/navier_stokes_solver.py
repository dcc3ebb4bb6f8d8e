"""The incompressible Navier-Stokes equations on the unit torus in vorticity form, pseudospectral (KITINet F.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from math import ceil, pi

import torch
from jaxtyping import Complex128, Float64
from torch import Tensor

from kiti.pde.etdrk4 import ETDRK4
from kiti.pde.gaussian_field import PeriodicGaussianField

SOLVER_VERSION = 1
"""Part of every data set's recipe: increase it when a change here alters results beyond rounding."""

INITIAL_VORTICITY = PeriodicGaussianField(amplitude=7**1.5, tau_squared=49.0, alpha=2.5, dims=2)
"""w0 ~ N(0, 7^(3/2) (−Δ + 49 I)^−2.5), F.2."""

COURANT = 1.0
# Grid points advanced together on a CPU, so that a step's working set stays in the cache.
_CPU_CHUNK_POINTS = 2**15
# The speed is checked again at least every so many steps of maximum length.
_STEPS_UNWATCHED = 4
# More steps than any valid flow needs.
_DIVERGED = 1e9


def paper_forcing(grid: int, device: torch.device | str = "cpu") -> Float64[Tensor, "grid grid"]:
    """f = 0.1 (sin 2π(x1 + x2) + cos 2π(x1 + x2)), F.2."""
    x = torch.arange(grid, dtype=torch.float64, device=device) / grid
    angle = 2 * pi * (x[:, None] + x)
    return 0.1 * (angle.sin() + angle.cos())


def solve_navier_stokes(
    w0: Float64[Tensor, "batch grid grid"],
    viscosity: float,
    times: Sequence[float],
    forcing: Float64[Tensor, "grid grid"] | None = None,
    *,
    every: int = 1,
    courant: float = COURANT,
    longest_step: float = 0.25,
    progress: Callable[[int, int], None] | None = None,
) -> Float64[Tensor, "batch frames kept kept"]:
    """Solve w_t + u·∇w = ν Δw + f, w = ∂1 u2 − ∂2 u1, ∇·u = 0, on (0, 1)² periodic, from w0 at t = 0.

    Fourier in space with the 2/3 rule: modes |k1|, |k2| < grid/3 are kept and their products are free of aliasing. The
    rest of w0 is dropped, as is its mean, because vorticity on the torus has mean zero. ETDRK4 in time: viscosity is
    exact, and only convection limits the step. The step h is chosen at least once every four times `longest_step`, for
    all samples that are advanced together, so that initially h · max(|u1| + |u2|) ≤ courant / grid; the time until the
    next choice is divided into 1, 2, 3, 4, 6, 8, 12, … equal steps.

    Args:
        w0: at x = j / grid on both axes, float64, on any device; in 1/time.
        viscosity: ν > 0, length²/time.
        times: of the frames; increasing, the first at least 0.
        forcing: f, 1/time², constant in time; None: no forcing.
        every: keep every `every`-th point of both axes.
        courant: convective limit of a step, in grid lengths; the method is stable up to about 1.3.
        longest_step: in time; limits the step while nothing moves yet.
        progress: called as progress(frames done, frames of all samples).

    Raises ValueError for times that do not increase; FloatingPointError if the solution diverged.
    """
    instants = [0.0, *times]
    if any(later < earlier for earlier, later in pairwise(instants)):
        raise ValueError(f"times={list(times)}: must increase from 0")
    grid = w0.shape[-1]
    space = _Spectrum(grid, w0.device)
    source = None if forcing is None else space.forward(forcing)
    size = max(1, _CPU_CHUNK_POINTS // grid**2) if w0.device.type == "cpu" else max(1, len(w0))
    kept = len(range(0, grid, every))
    frames = w0.new_empty(len(w0), len(times), kept, kept)

    diverged = FloatingPointError(
        f"Navier-Stokes diverged on {grid} x {grid} points with viscosity {viscosity}: "
        f"use more points, or courant below {courant}"
    )

    @lru_cache(maxsize=32)
    def stepper(step: float) -> ETDRK4:
        return ETDRK4(-viscosity * space.squares, step)

    for first in range(0, len(w0), size):
        chunk = slice(first, first + size)
        w_hat = space.forward(w0[chunk])
        w_hat[:, 0, 0] = 0
        for frame, (earlier, later) in enumerate(pairwise(instants)):
            pieces = _at_least((later - earlier) / (_STEPS_UNWATCHED * longest_step))
            for _ in range(pieces if later > earlier else 0):
                fastest = space.velocity(w_hat).abs().sum(0).max().item() * grid
                needed = (later - earlier) / pieces * max(fastest / courant, 1 / longest_step)
                if not needed < _DIVERGED:
                    raise diverged
                steps = _round_number(_at_least(needed))
                advance = stepper((later - earlier) / pieces / steps)
                for _ in range(steps):
                    w_hat = advance(w_hat, lambda w: _rate(w, space, source))
            frames[chunk, frame] = space.backward(w_hat)[:, ::every, ::every]
            if progress is not None:
                progress(first * len(times) + (frame + 1) * len(w_hat), len(w0) * len(times))
        if not w_hat.isfinite().all():
            raise diverged
    return frames


def halving_difference(
    w0: Float64[Tensor, "batch grid grid"],
    viscosity: float,
    time: float,
    forcing: Float64[Tensor, "grid grid"] | None = None,
    courant: float = COURANT,
    longest_step: float = 0.25,
) -> Float64[Tensor, " batch"]:
    """|w_h − w_{h/2}| / |w_{h/2}| in L2 at `time`: the change of each sample if all steps are halved."""
    whole, half = (
        solve_navier_stokes(w0, viscosity, [time], forcing, courant=courant / cut, longest_step=longest_step / cut)
        for cut in (1, 2)
    )
    return (whole - half).flatten(1).norm(dim=1) / half.flatten(1).norm(dim=1)


def _rate(w_hat: Tensor, space: "_Spectrum", source: Tensor | None) -> Tensor:
    """−u·∇w + f. Written as −(∂11 − ∂22)(u1 u2) − ∂12(u2² − u1²), it needs two products instead of five fields."""
    u1, u2 = space.velocity(w_hat)
    mixed, difference = space.forward(torch.stack([u1 * u2, u2.square() - u1.square()]))
    rate = space.shear * mixed + space.twist * difference
    return rate if source is None else rate + source


@dataclass(frozen=True)
class _Spectrum:
    """Fields on grid² points and their modes |k1|, |k2| < grid / 3.

    For a real field half the modes suffice: they are stored as (…, 2K + 1, K + 1), k1 in the order 0 … K, −K … −1 and
    k2 = 0 … K. Transforms run axis by axis, so that dropped modes are not transformed twice.
    """

    grid: int
    device: torch.device

    @property
    def highest(self) -> int:
        return (self.grid - 1) // 3

    def forward(self, field: Float64[Tensor, "*batch grid grid"]) -> Complex128[Tensor, "*batch k1 k2"]:
        half = torch.fft.rfft(field, norm="forward")[..., : self.highest + 1]
        modes = torch.fft.fft(half, dim=-2, norm="forward")
        return torch.cat([modes[..., : self.highest + 1, :], modes[..., self.grid - self.highest :, :]], dim=-2)

    def backward(self, modes: Complex128[Tensor, "*batch k1 k2"]) -> Float64[Tensor, "*batch grid grid"]:
        padded = modes.new_zeros(*modes.shape[:-2], self.grid, self.highest + 1)
        padded[..., : self.highest + 1, :] = modes[..., : self.highest + 1, :]
        padded[..., self.grid - self.highest :, :] = modes[..., self.highest + 1 :, :]
        half = torch.fft.ifft(padded, dim=-2, norm="forward")
        return torch.fft.irfft(half, n=self.grid, norm="forward")

    def velocity(self, w_hat: Complex128[Tensor, "B k1 k2"]) -> Float64[Tensor, "2 B grid grid"]:
        """u = (∂2 ψ, −∂1 ψ) with −Δψ = w."""
        return self.backward(self.curl.unsqueeze(1) * w_hat)

    @cached_property
    def wavenumbers(self) -> tuple[Tensor, Tensor]:
        """2π k1 as a column, 2π k2 as a row."""
        upward = torch.arange(self.highest + 1, dtype=torch.float64, device=self.device)
        downward = torch.arange(-self.highest, 0, dtype=torch.float64, device=self.device)
        return 2 * pi * torch.cat([upward, downward])[:, None], 2 * pi * upward[None, :]

    @cached_property
    def squares(self) -> Float64[Tensor, "k1 k2"]:
        k1, k2 = self.wavenumbers
        return k1**2 + k2**2

    @cached_property
    def curl(self) -> Complex128[Tensor, "2 k1 k2"]:
        k1, k2 = self.wavenumbers
        inverse = 1 / self.squares
        inverse[0, 0] = 0
        return torch.stack([1j * k2 * inverse, -1j * k1 * inverse])

    @cached_property
    def shear(self) -> Float64[Tensor, "k1 k2"]:
        k1, k2 = self.wavenumbers
        return k1**2 - k2**2

    @cached_property
    def twist(self) -> Float64[Tensor, "k1 k2"]:
        k1, k2 = self.wavenumbers
        return k1 * k2


def _at_least(needed: float) -> int:
    """`needed` rounded up to an integer of at least 1, tolerating rounding errors."""
    return max(1, ceil(needed * (1 - 1e-12)))


def _round_number(needed: int) -> int:
    """`needed` rounded up to one of 1, 2, 3, 4, 6, 8, 12, …: few step sizes, so coefficients can be cached."""
    power = 1 << (needed - 1).bit_length()
    return power * 3 // 4 if power >= 4 and power * 3 // 4 >= needed else power
