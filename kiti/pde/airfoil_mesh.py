"""Irregular triangles around a NACA airfoil, out to a distant circle."""

from collections.abc import Callable
from math import ceil, pi

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree
from torch import Tensor

from kiti.pde.triangles import FAR, WALL, TriangleMesh, triangle_mesh

Points = NDArray[np.float64]

# Minimum distance between random points, relative to the size function; edges then have about the function's length.
_APART = 0.8
_DARTS = 2000
# Share of a round's darts; if fewer are accepted, the remaining gaps are small.
_STUCK = 0.002
_SMOOTHINGS = 6


def naca4_surface(code: str, size: float) -> Float64[Tensor, "S 2"]:
    """Points on a NACA 4-digit airfoil, chord from (0, 0) to (1, 0), clockwise from the sharp trailing edge.

    y = ±5 t (0.2969 √x − 0.1260 x − 0.3516 x² + 0.2843 x³ − 0.1036 x⁴), measured normal to the camber line; the last
    coefficient closes the trailing edge. Upper and lower points share their x on the camber line.

    Args:
        code: four digits: camber in % of the chord, its position in tenths, thickness in %.
        size: point spacing at mid-chord, in chords; 0.4 times that at the nose, 0.6 times at the trailing edge.
    """
    if len(code) != 4 or not code.isdecimal() or not code.isascii():
        raise ValueError(f"code={code!r}: a NACA code has four digits")
    camber, place, thickness = int(code[0]) / 100, int(code[1]) / 10, int(code[2:]) / 100
    if thickness == 0 or (camber > 0) != (place > 0):
        raise ValueError(f"code={code!r}: thickness must be positive; camber and its position both 0 or both positive")
    if not 0.002 <= size <= 0.2:
        raise ValueError(f"surface_size={size} must be between 0.002 and 0.2 chords")

    def half_thickness(x: Points) -> Points:
        polynomial = 0.2969 * np.sqrt(x) - 0.1260 * x - 0.3516 * x**2 + 0.2843 * x**3 - 0.1036 * x**4
        return 5 * thickness * polynomial

    fine = (1 - np.cos(np.linspace(0, pi, 4001))) / 2
    relative = np.minimum(1.0, np.minimum(0.4 + 2.4 * fine, 0.6 + 1.6 * (1 - fine)))
    arc = np.hypot(np.diff(fine), np.diff(half_thickness(fine)))
    intervals = np.concatenate([[0.0], np.cumsum(arc / (size * (relative[1:] + relative[:-1]) / 2))])
    count = ceil(intervals[-1])
    x = np.interp(np.linspace(0, intervals[-1], count + 1), intervals, fine)
    x[0], x[-1] = 0.0, 1.0

    y = half_thickness(x)
    y[-1] = 0.0
    middle, slope = np.zeros_like(x), np.zeros_like(x)
    if camber > 0:
        ahead = x < place
        scale = np.where(ahead, camber / place**2, camber / (1 - place) ** 2)
        middle = scale * np.where(ahead, 2 * place * x - x**2, 1 - 2 * place + 2 * place * x - x**2)
        slope = scale * 2 * (place - x)
    tilt = np.arctan(slope)
    upper = np.stack([x - y * np.sin(tilt), middle + y * np.cos(tilt)], axis=1)
    lower = np.stack([x + y * np.sin(tilt), middle - y * np.cos(tilt)], axis=1)
    return torch.from_numpy(np.concatenate([lower[::-1], upper[1:-1]]))


def airfoil_mesh(
    code: str, *, surface_size: float = 0.06, growth: float = 0.25, radius: float = 12.0, seed: int = 0
) -> TriangleMesh:
    """Triangles from a NACA 4-digit airfoil, tagged WALL, to a circle around mid-chord, tagged FAR.

    With the other defaults, surface_size = 0.06 and growth = 0.25 give about 500 vertices, 0.04 and 0.18 about 1000,
    0.018 and 0.075 about 5200 (MeshGraphNets' airfoils have 5233).

    Args:
        surface_size: `size` of naca4_surface, in chords.
        growth: increase of edge length per distance from the surface.
        radius: of the far boundary, in chords.
        seed: of the point positions; equal arguments give equal meshes.

    Raises ValueError for arguments out of range.
    """
    if not radius >= 2:
        raise ValueError(f"radius={radius} must be at least 2 chords")
    surface = naca4_surface(code, surface_size).numpy()
    return mesh_round(surface, np.array([0.5, 0.0]), growth, radius, seed)


def mesh_round(surface: Points, centre: Points, growth: float, radius: float, seed: int) -> TriangleMesh:
    """Random points at distances given by a size function, Delaunay triangulation, Laplacian smoothing."""
    if not 0.02 <= growth <= 0.5:
        raise ValueError(f"growth={growth} must be between 0.02 and 0.5")
    edges = np.linalg.norm(surface - np.roll(surface, -1, axis=0), axis=1)
    spacing = (edges + np.roll(edges, 1)) / 2
    nearest = cKDTree(surface)

    def size(points: Points) -> Points:
        distance, index = nearest.query(points)
        return spacing[index] + growth * distance

    random = np.random.default_rng(seed)
    far_size = float(size(centre + np.array([[0.0, radius]]))[0])
    count = max(12, round(2 * pi * radius / far_size))
    angle = 2 * pi * (np.arange(count) + random.random()) / count
    far = centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    fixed = np.concatenate([surface, far])

    def allowed(points: Points) -> NDArray[np.bool_]:
        within = np.linalg.norm(points - centre, axis=1) < radius - _APART * far_size
        return within & ~_inside(points, surface)

    points = _throw(fixed, surface, radius, size, allowed, random)
    triangles = _outer_triangles(points, surface)
    for _ in range(_SMOOTHINGS):
        # Each triangle at a free vertex has one edge leaving it, so each neighbour is counted once.
        leave, arrive = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
        degree = np.bincount(leave, minlength=len(points))
        mean = np.stack([np.bincount(leave, points[arrive, axis], len(points)) / degree for axis in (0, 1)], axis=1)
        points = np.concatenate([fixed, mean[len(fixed) :]])
        triangles = _outer_triangles(points, surface)

    def tag(midpoints: Tensor) -> Tensor:
        return torch.where((midpoints - torch.from_numpy(centre)).norm(dim=1) > radius / 2, FAR, WALL)

    mesh = triangle_mesh(torch.from_numpy(points), torch.from_numpy(triangles.astype(np.int64)), tag)
    if int((mesh.tags == WALL).sum()) != len(surface):
        raise ValueError("some surface edges are not edges of the Delaunay triangulation: use a smaller surface_size")
    return mesh


def _throw(
    points: Points,
    surface: Points,
    radius: float,
    size: Callable[[Points], Points],
    allowed: Callable[[Points], NDArray[np.bool_]],
    random: np.random.Generator,
) -> Points:
    """Add random points ("darts") until there is no more room, keeping the distance that the size function requires.

    The darts' distances from the surface are uniform in the logarithm, as edges grow with distance; so few are wasted.
    """
    least = float(np.linalg.norm(surface - np.roll(surface, -1, axis=0), axis=1).min())
    while True:
        angle = random.uniform(0, 2 * pi, _DARTS)
        distance = np.exp(random.uniform(np.log(least / 2), np.log(2 * radius), _DARTS))
        from_surface = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        darts = surface[random.integers(len(surface), size=_DARTS)] + from_surface
        darts = darts[allowed(darts)]
        room = _APART * size(darts)
        free = cKDTree(points).query(darts)[0] >= room
        stuck = np.empty((0, 2))
        for dart, needed in zip(darts[free], room[free], strict=True):
            if np.hypot(*(stuck - dart).T).min(initial=np.inf) >= needed:
                stuck = np.concatenate([stuck, dart[None]])
        points = np.concatenate([points, stuck])
        if len(stuck) < _STUCK * _DARTS:
            return points


def _outer_triangles(points: Points, surface: Points) -> NDArray[np.int32]:
    """The Delaunay triangulation, anticlockwise, without triangles inside the surface."""
    triangles = Delaunay(points).simplices
    return triangles[~_inside(points[triangles].mean(axis=1), surface)]


def _inside(points: Points, polygon: Points) -> NDArray[np.bool_]:
    """Whether a ray to the right crosses the polygon an odd number of times."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    straddles = (start[:, 1] > y) != (end[:, 1] > y)
    rise = end[:, 1] - start[:, 1]
    crossing = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / np.where(rise == 0, 1.0, rise)
    return (straddles & (x < crossing)).sum(axis=1) % 2 == 1
