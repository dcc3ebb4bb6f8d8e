"""The heat equation on the torus, generated as in F.3: learn to predict the temperature."""

from typing import Any

from torch import Tensor

from kiti.data.torus_frames import TorusFrames
from kiti.pde.heat_solver import SOLVER_VERSION, heat_source, solve_heat
from kiti.pde.navier_stokes_solver import INITIAL_VORTICITY


class HeatData(TorusFrames):
    """Frames of u_t = α Δu + q, with the initial field of F.2.

    Args:
        diffusivity: α, length²/time.
        source: where q is 0.1, "boundary" or "uniform" (A18).
        source_width: for "boundary", the distance from the boundary of the unit square up to which it is; None: the
            outermost ring of grid points (A46).
        frames: arguments of TorusFrames.
    """

    name = "heat"
    initial = INITIAL_VORTICITY

    def __init__(
        self, *, diffusivity: float = 1e-4, source: str = "boundary", source_width: float | None = None, **frames: Any
    ) -> None:
        super().__init__(**frames)
        self.diffusivity = diffusivity
        self.source = source
        self.source_width = source_width

    def equation(self) -> dict[str, Any]:
        return {
            "equation": "u_t = diffusivity Laplacian u + q, unit torus",
            "solver": "each Fourier mode in closed form",
            "solver_version": SOLVER_VERSION,
            "diffusivity": float(self.diffusivity),
            "source": f"0.1, {self.source}{self._width}",
        }

    @property
    def _width(self) -> str:
        return "" if self.source_width is None or self.source != "boundary" else f", {self.source_width} wide"

    def solve(self, u0: Tensor, times: list[float], every: int) -> Tensor:
        return solve_heat(u0, self.diffusivity, times, heat_source(self.source, self.grid, self.source_width), every)
