"""Fourth-order exponential time differencing: the stiff part of v' = Lv + N(v) is integrated exactly."""

from collections.abc import Callable
from math import pi

import torch
from jaxtyping import Complex128, Inexact
from torch import Tensor

CONTOUR_POINTS = 32


class ETDRK4:
    """One step of size `step` for v' = L v + N(v) with a diagonal L (Cox and Matthews 2002).

    The coefficients are φ-functions of h·L such as (e^z − 1)/z, which lose all digits to cancellation near z = 0. So
    they are computed as means over a circle of radius 1 around each h·L (Kassam and Trefethen 2005): by Cauchy's
    theorem the mean of an entire function over the circle is its value at the centre, and on the circle nothing
    cancels.

    Args:
        linear: the diagonal of L, in 1/time; float64 (dissipation) or complex128 (dispersion, advection).
        step: h, in time.
    """

    def __init__(self, linear: Inexact[Tensor, "*modes"], step: float) -> None:
        points = torch.arange(CONTOUR_POINTS, dtype=torch.float64, device=linear.device)
        angles = 2 * pi * (points + 0.5) / CONTOUR_POINTS
        if not linear.is_complex():
            # Around a real centre, the lower half circle gives the conjugates of the upper one.
            angles = angles[: CONTOUR_POINTS // 2]
        z = step * linear.unsqueeze(-1) + torch.polar(torch.ones_like(angles), angles)  # (*modes, points)
        exp_z = torch.exp(z)

        def mean(values: Tensor) -> Tensor:
            average = step * values.mean(-1)
            return average if linear.is_complex() else average.real

        self.full = torch.exp(step * linear)
        self.half = torch.exp(step / 2 * linear)
        self.half_weight = mean((torch.exp(z / 2) - 1) / z)
        self.first = mean((-4 - z + exp_z * (4 - 3 * z + z**2)) / z**3)
        self.middle = mean((2 + z + exp_z * (z - 2)) / z**3) * 2
        self.last = mean((-4 - 3 * z - z**2 + exp_z * (4 - z)) / z**3)

    def __call__(
        self, v: Complex128[Tensor, "*state"], nonlinear: Callable[[Tensor], Tensor]
    ) -> Complex128[Tensor, "*state"]:
        """v(t) -> v(t + h). `nonlinear` is N; the last axes of `v` are those of `linear`."""
        n_v = nonlinear(v)
        decayed = self.half * v
        a = decayed + self.half_weight * n_v
        n_a = nonlinear(a)
        b = decayed + self.half_weight * n_a
        n_b = nonlinear(b)
        c = self.half * a + self.half_weight * (2 * n_b - n_v)
        n_c = nonlinear(c)
        return self.full * v + self.first * n_v + self.middle * (n_a + n_b) + self.last * n_c
