"""Meshes with known exact flows, a box and the outside of a cylinder, and the force on their walls."""

from math import pi

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from kiti.pde.airfoil_mesh import mesh_round
from kiti.pde.euler import EulerScheme
from kiti.pde.triangles import WALL, TriangleMesh, triangle_mesh


def cylinder_mesh(points: int = 64, *, growth: float = 0.2, radius: float = 12.0, seed: int = 0) -> TriangleMesh:
    """`airfoil_mesh` around a cylinder of diameter 1 at the origin, with `points` points on it."""
    if points < 8 or not radius >= 2:
        raise ValueError(f"points={points}, radius={radius}: at least 8 points and 2 diameters are needed")
    angle = -2 * pi * np.arange(points) / points
    return mesh_round(np.stack([np.cos(angle), np.sin(angle)], 1) / 2, np.zeros(2), growth, radius, seed)


def box_mesh(
    width: float, height: float, columns: int, rows: int, *, jitter: float = 0.2, seed: int = 0, boundary: int = WALL
) -> TriangleMesh:
    """(0, width) × (0, height) in columns × rows cells, each split along a random diagonal.

    Points inside are moved at random by up to `jitter` of a cell on each axis (below 0.25, so that no triangle flips),
    points on a side move along it. All sides are tagged `boundary`.
    """
    if not (width > 0 and height > 0 and columns >= 2 and rows >= 2 and 0 <= jitter < 0.25):
        raise ValueError("a box needs positive sides, 2 columns and 2 rows at least, and 0 <= jitter < 0.25")
    random = np.random.default_rng(seed)
    steps = np.array([width / columns, height / rows])
    index = np.stack(np.meshgrid(np.arange(columns + 1), np.arange(rows + 1), indexing="ij"), axis=-1)
    moved = random.uniform(-jitter, jitter, index.shape)
    moved[[0, -1], :, 0] = 0
    moved[:, [0, -1], 1] = 0
    moved[[0, 0, -1, -1], [0, -1, 0, -1]] = 0
    vertices = (index + moved) * steps
    number = np.arange((columns + 1) * (rows + 1)).reshape(columns + 1, rows + 1)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    rising = random.random((columns, rows, 1)) < 0.5
    first = np.where(rising, np.stack([a, b, c], -1), np.stack([a, b, d], -1))
    second = np.where(rising, np.stack([a, c, d], -1), np.stack([b, c, d], -1))
    triangles = np.stack([first, second], axis=2).reshape(-1, 3)
    return triangle_mesh(
        torch.from_numpy(vertices.reshape(-1, 2)),
        torch.from_numpy(triangles),
        lambda midpoints: torch.full((len(midpoints),), boundary),
    )


def wall_force(scheme: EulerScheme, state: Float64[Tensor, "4 C batch"]) -> Float64[Tensor, "2 batch"]:
    """Σ pressure · normal · length over the walls: the force of the gas on them, drag and lift of an airfoil."""
    walls = scheme.mesh.walls
    return (scheme.fluxes(state)[1:3, walls] * scheme.mesh.lengths[walls, None]).sum(1)
