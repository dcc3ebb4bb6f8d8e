"""Impulsively started flows around an airfoil: frames at the vertices of its mesh."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from kiti.pde.airfoil_mesh import airfoil_mesh
from kiti.pde.euler import COURANT, solve_euler
from kiti.pde.ideal_gas import free_stream, to_conserved, to_primitive
from kiti.pde.reconstruction import LinearReconstruction
from kiti.pde.triangles import FAR, WALL, TriangleMesh

FIELDS = ("velocity_x", "velocity_y", "density", "pressure")


@dataclass(frozen=True)
class AirfoilFlows:
    """Several flows on one mesh, in the units of kiti.pde.ideal_gas: chord, free-stream density and speed of sound.

    `node_type` is 0 inside the gas, 1 on the airfoil, 2 on the far boundary; `frames` are FIELDS at the vertices.
    """

    vertices: Float64[Tensor, "V 2"]
    triangles: Int64[Tensor, "C 3"]
    node_type: Int64[Tensor, " V"]
    frames: Float64[Tensor, "batch frames V 4"]


def airfoil_flows(
    code: str,
    machs: Sequence[float],
    degrees: Sequence[float],
    times: Sequence[float],
    *,
    seed: int = 0,
    surface_size: float = 0.06,
    growth: float = 0.25,
    radius: float = 12.0,
    courant: float = COURANT,
    progress: Callable[[int, int], None] | None = None,
) -> AirfoilFlows:
    """Flows around NACA `code`, one for each pair of Mach number and angle of attack, on a shared mesh.

    At t = 0 the free stream, ρ = 1, p = 1/γ, (u, v) = M (cos α, sin α), is everywhere, and the airfoil appears in it.
    Then pressure waves leave, lift grows as a starting vortex drifts away, and shocks form and move to their positions.

    Args:
        code: of the airfoil, see naca4_surface.
        machs, degrees: M > 0 and α of each flow.
        times: of the frames, in chords / free-stream speed of sound; increasing, the first at least 0.
        seed, surface_size, growth, radius: as for airfoil_mesh.
        courant, progress: as for solve_euler.

    Raises the errors of airfoil_mesh and solve_euler, and ValueError unless there is one Mach number per angle.
    """
    if len(machs) != len(degrees) or not all(mach > 0 for mach in machs):
        raise ValueError(f"machs={list(machs)}, degrees={list(degrees)}: equal lengths and M > 0 are required")
    mesh = airfoil_mesh(code, surface_size=surface_size, growth=growth, radius=radius, seed=seed)
    stream = free_stream(torch.tensor(machs, dtype=torch.float64), torch.tensor(degrees, dtype=torch.float64))
    initial = to_conserved(stream)[:, None].expand(-1, len(mesh.triangles), -1)
    cells = solve_euler(mesh, initial, times, stream, courant=courant, progress=progress)
    return AirfoilFlows(mesh.vertices, mesh.triangles, node_types(mesh), vertex_frames(mesh, cells))


def node_types(mesh: TriangleMesh) -> Int64[Tensor, " V"]:
    """For each vertex, the tag of its boundary edges; 0 inside."""
    types = mesh.triangles.new_zeros(len(mesh.vertices))
    for tag in (WALL, FAR):
        types[mesh.ends[mesh.tags == tag]] = tag
    return types


def vertex_frames(
    mesh: TriangleMesh, cells: Float64[Tensor, "batch frames C 4"]
) -> Float64[Tensor, "batch frames V 4"]:
    """FIELDS at the vertices, from conserved cell averages; see LinearReconstruction.at_vertices."""
    reconstruction = LinearReconstruction(mesh)
    of_frames = [
        reconstruction.at_vertices(to_primitive(frame).permute(2, 1, 0).contiguous()) for frame in cells.unbind(1)
    ]
    rho, u, v, p = torch.stack(of_frames, dim=1).unbind(0)  # (frames, V, batch) each
    return torch.stack([u, v, rho, p], dim=-1).permute(2, 0, 1, 3).contiguous()
