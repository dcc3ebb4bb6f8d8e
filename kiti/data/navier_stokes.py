"""The Navier-Stokes equations on the torus, generated as in F.2: learn to predict the vorticity."""

from typing import Any

from torch import Tensor

from kiti.data.operator_pairs import Pair
from kiti.data.torus_frames import TorusFrames
from kiti.data.trivial.trivial_frames import Frames, laminar_response
from kiti.pde.navier_stokes_solver import (
    COURANT,
    INITIAL_VORTICITY,
    SOLVER_VERSION,
    halving_difference,
    paper_forcing,
    solve_navier_stokes,
)


class NavierStokesData(TorusFrames):
    """Frames of the vorticity, w_t + u·∇w = ν Δw + 0.1 (sin 2π(x1 + x2) + cos 2π(x1 + x2)), ∇·u = 0.

    Before anything is stored, the first of every fifty samples is also solved with half the step size, as a check.

    Args:
        viscosity: ν, length²/time.
        tolerance: largest allowed relative L2 difference of the two; FloatingPointError beyond it.
        frames: arguments of TorusFrames.
    """

    name = "navier_stokes"
    initial = INITIAL_VORTICITY

    def __init__(self, *, viscosity: float = 1e-3, tolerance: float = 1e-5, **frames: Any) -> None:
        super().__init__(**frames)
        self.viscosity = viscosity
        self.tolerance = tolerance

    def equation(self) -> dict[str, Any]:
        return {
            "equation": "w_t + u.grad w = viscosity Laplacian w + 0.1 (sin 2pi(x1+x2) + cos 2pi(x1+x2)), unit torus",
            "solver": "pseudospectral ETDRK4, 2/3 rule, steps by CFL",
            "solver_version": SOLVER_VERSION,
            "viscosity": float(self.viscosity),
            "courant": COURANT,
        }

    def solve(self, u0: Tensor, times: list[float], every: int) -> Tensor:
        forcing = paper_forcing(self.grid, u0.device)
        changed = halving_difference(u0[:1], self.viscosity, times[-1], forcing).item()
        if not changed <= self.tolerance:
            raise FloatingPointError(
                f"Navier-Stokes on {self.grid} x {self.grid} points: halving the step size changes the solution at "
                f"t = {times[-1]:g} by {changed:.1e}, more than tolerance={self.tolerance:g}: use a finer grid"
            )
        return solve_navier_stokes(u0, self.viscosity, times, forcing, every=every)

    def predicted(self, train: Pair, given: Frames) -> dict[str, Frames]:
        return super().predicted(train, given) | {"laminar": laminar_response(given, self.frames_out, self.viscosity)}
