"""The compressible Euler equations on triangles: second-order cell-centred finite volumes, explicit in time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import inf

import torch
from jaxtyping import Float64
from torch import Tensor

from kiti.pde.ideal_gas import GAMMA, to_primitive
from kiti.pde.reconstruction import LinearReconstruction
from kiti.pde.riemann import hllc, wall_pressure
from kiti.pde.triangles import TriangleMesh

SOLVER_VERSION = 1
"""Part of every data set's recipe: increase it when a change here alters results beyond rounding."""

COURANT = 1.5
# Rounds of flattening more cells before a step fails.
_RETRIES = 8
# More steps than any valid flow needs.
_DIVERGED = 1e9


def solve_euler(
    mesh: TriangleMesh,
    initial: Float64[Tensor, "batch C 4"],
    times: Sequence[float],
    free_stream: Float64[Tensor, "streams 4"] | None = None,
    *,
    courant: float = COURANT,
    longest_step: float = inf,
    progress: Callable[[int, int], None] | None = None,
) -> Float64[Tensor, "batch frames C 4"]:
    """Solve U_t + ∇·F(U) = 0 for U = (ρ, ρu, ρv, E), p = (γ − 1)(E − ρ(u² + v²)/2), γ = 1.4, from U at t = 0.

    Values are cell averages. In space: LinearReconstruction of (ρ, u, v, p), HLLC through interior edges, the exact
    pressure of a mirrored state on slip walls, HLLC against the free stream on the far boundary. In time: two-stage
    SSP Runge-Kutta (Heun). All samples share the mesh, but each takes its own steps,

        h ≤ courant · min over cells of area / (perimeter · (|u| + c)),

    shortened to divide the time to the next frame evenly, so that its result does not depend on the other samples. Up
    to courant = 1 a first-order step keeps ρ and p positive. If a second-order stage does not, it is repeated with the
    affected cells and their neighbours at first order; each edge still has a single flux, so conservation holds.

    Args:
        initial: U by cell; any consistent units, those of kiti.pde.ideal_gas for flows around airfoils.
        times: of the frames; increasing, the first at least 0.
        free_stream: (ρ, u, v, p) of each sample; needed if the mesh has a far boundary.
        courant: stable up to about 3 in smooth flow; above 1 positivity is not proven, only checked at every stage.
        longest_step: in time.
        progress: called as progress(frames done, frames of all samples).

    Raises ValueError for times that do not increase, mismatched shapes, or non-positive ρ or p; FloatingPointError
    if the solution diverged.
    """
    instants = [0.0, *times]
    if any(not earlier <= later < inf for earlier, later in pairwise(instants)):
        raise ValueError(f"times={list(times)}: must increase from 0 and be finite")
    if not (courant > 0 and longest_step > 0):
        raise ValueError(f"courant={courant} and longest_step={longest_step} must be positive")
    scheme = EulerScheme(mesh, free_stream)
    if initial.shape[1] != len(mesh.triangles):
        raise ValueError(f"initial has {initial.shape[1]} cells, the mesh {len(mesh.triangles)}")
    if free_stream is not None and len(free_stream) != len(initial):
        raise ValueError(f"free_stream has {len(free_stream)} samples, initial {len(initial)}")
    state = initial.permute(2, 1, 0).contiguous()
    if not _valid(state).all():
        raise ValueError("initial density and pressure must be finite and positive")

    frames = initial.new_empty(len(initial), len(times), *initial.shape[1:])
    for frame, (earlier, later) in enumerate(pairwise(instants)):
        remaining = initial.new_full((len(initial),), later - earlier)
        while remaining.max() > 0:
            longest = (courant * scheme.crossing_time(state)).clamp(max=longest_step)
            pieces = (remaining / longest * (1 - 1e-12)).ceil().clamp(min=1)
            if not bool((pieces < _DIVERGED).all()):
                raise _diverged(mesh)
            step = remaining / pieces
            state = scheme.advance(state, step)
            remaining = torch.where(pieces > 1, remaining - step, 0.0)
        frames[:, frame] = state.permute(2, 1, 0)
        if progress is not None:
            progress((frame + 1) * len(initial), len(times) * len(initial))
    return frames


@dataclass(frozen=True)
class EulerScheme:
    """One step of solve_euler, and its parts. States are (4, cells, batch), see LinearReconstruction."""

    mesh: TriangleMesh
    free_stream: Float64[Tensor, "batch 4"] | None = None

    def __post_init__(self) -> None:
        if self.free_stream is None and self.mesh.far.start < self.mesh.far.stop:
            raise ValueError("the mesh has a far boundary: free_stream is required")
        if self.free_stream is not None and not (self.free_stream[:, [0, 3]] > 0).all():
            raise ValueError("free_stream must have positive density and pressure")

    @cached_property
    def reconstruction(self) -> LinearReconstruction:
        return LinearReconstruction(self.mesh)

    def crossing_time(self, state: Float64[Tensor, "4 C batch"]) -> Float64[Tensor, " batch"]:
        """min over cells of area / (perimeter · (|u| + c)); nan if the state is nan."""
        rho, u, v, p = to_primitive(state.movedim(0, -1)).unbind(-1)
        speed = torch.hypot(u, v) + (GAMMA * p / rho).sqrt()
        return (self._widths / speed).amin(0)

    def advance(
        self, state: Float64[Tensor, "4 C batch"], step: Float64[Tensor, " batch"]
    ) -> Float64[Tensor, "4 C batch"]:
        """Heun's step: U1 = U + h L(U), then (U + U1 + h L(U1)) / 2. FloatingPointError if the result is invalid."""
        first = self._stage(state, state, step, 1.0)
        return self._stage(first, state, step, 0.5)

    def rate(
        self, state: Float64[Tensor, "4 C batch"], flat: Float64[Tensor, "C batch"] | None = None
    ) -> Float64[Tensor, "4 C batch"]:
        """L(U) = −(1 / area) Σ over edges of flux · length; first order where `flat` is 1."""
        flux = self.fluxes(state, flat) * self.mesh.lengths[:, None]
        out = torch.zeros_like(state)
        for edges, sign in zip(self.mesh.edges_of_cell.unbind(1), self._outward, strict=True):
            out.addcmul_(flux.index_select(1, edges), sign)
        return out.mul_(self._minus_inverse_areas)

    def fluxes(
        self, state: Float64[Tensor, "4 C batch"], flat: Float64[Tensor, "C batch"] | None = None
    ) -> Float64[Tensor, "4 E batch"]:
        """Flux through every edge along its normal, per length and time; on a wall, pressure times normal."""
        mesh = self.mesh
        inside, walls, far = slice(0, mesh.walls.start), mesh.walls, mesh.far
        left, right = self.reconstruction.sides(to_primitive(state.movedim(0, -1)).movedim(-1, 0), flat)
        flux = torch.empty_like(left)
        normals = mesh.normals[:, None]
        flux[:, inside] = hllc(left[:, inside].movedim(0, -1), right.movedim(0, -1), normals[inside]).movedim(-1, 0)
        rho, u, v, p = left[:, walls]
        nx, ny = normals[walls].unbind(-1)
        p = wall_pressure(rho, u * nx + v * ny, p)
        flux[:, walls] = torch.stack([torch.zeros_like(p), p * nx, p * ny, torch.zeros_like(p)])
        if self.free_stream is not None:
            outside = self.free_stream.expand(far.stop - far.start, -1, -1)
            flux[:, far] = hllc(left[:, far].movedim(0, -1), outside, normals[far]).movedim(-1, 0)
        return flux

    def _stage(self, state: Tensor, start: Tensor, step: Tensor, share: float) -> Tensor:
        """start · (1 − share) + share · (state + step · L(state)), flattening cells until the result is valid."""
        flat = None
        for _ in range(_RETRIES):
            out = (state + step * self.rate(state, flat)) * share + start * (1 - share)
            valid = _valid(out)
            if valid.all():
                return out
            bad = (~valid[self.mesh.neighbours].all(1) | ~valid).to(state.dtype)
            flat = bad if flat is None else torch.maximum(flat, bad)
        raise _diverged(self.mesh)

    @cached_property
    def _widths(self) -> Tensor:
        return (self.mesh.areas / self.mesh.perimeters)[:, None]

    @cached_property
    def _minus_inverse_areas(self) -> Tensor:
        return -1 / self.mesh.areas[:, None]

    @cached_property
    def _outward(self) -> list[Tensor]:
        return [sign[:, None].contiguous() for sign in self.mesh.outward.unbind(1)]


def _valid(state: Tensor) -> Tensor:
    """(cells, batch): density and pressure are positive and finite; False for nan."""
    rho, _, _, p = to_primitive(state.movedim(0, -1)).unbind(-1)
    return (rho > 0) & (p > 0) & (rho < inf) & (p < inf)


def _diverged(mesh: TriangleMesh) -> FloatingPointError:
    return FloatingPointError(
        f"Euler diverged on {len(mesh.triangles)} triangles: density or pressure is no longer positive; "
        f"use courant of at most 1 or a smoother initial state"
    )
