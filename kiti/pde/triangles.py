"""A triangle mesh as tensors, with what a finite-volume method needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

INTERIOR, WALL, FAR = 0, 1, 2
"""Edge types: inside the gas, on a slip wall, on the far boundary to the free stream."""

# Area relative to a triangle's longest edge squared; below it the triangle is a line up to rounding.
_FLAT = 1e-10


@dataclass(frozen=True)
class TriangleMesh:
    """Triangles ("cells") with anticlockwise corners, and their edges: interior ones first, then walls, then far ones.

    Built and validated by `triangle_mesh`. Edge k of a cell runs from its corner k to its corner k + 1; "side"
    3 · cell + k is that edge as seen from this cell. An edge's normal points from its left cell to its right cell.
    """

    vertices: Float64[Tensor, "V 2"]
    triangles: Int64[Tensor, "C 3"]
    tags: Int64[Tensor, " E"]
    left_side: Int64[Tensor, " E"]
    right_side: Int64[Tensor, " I"]
    """Only of the interior edges, which come first."""

    @property
    def walls(self) -> slice:
        first = len(self.right_side)
        return slice(first, first + int((self.tags == WALL).sum()))

    @property
    def far(self) -> slice:
        return slice(self.walls.stop, len(self.tags))

    @cached_property
    def ends(self) -> Int64[Tensor, "E 2"]:
        """Start and end vertex of each edge, as seen from its left cell."""
        return _sides(self.triangles)[self.left_side]

    @cached_property
    def lengths(self) -> Float64[Tensor, " E"]:
        return self._along.norm(dim=1)

    @cached_property
    def normals(self) -> Float64[Tensor, "E 2"]:
        along = self._along
        return torch.stack([along[:, 1], -along[:, 0]], dim=1) / self.lengths[:, None]

    @cached_property
    def midpoints(self) -> Float64[Tensor, "E 2"]:
        return self.vertices[self.ends].mean(dim=1)

    @cached_property
    def areas(self) -> Float64[Tensor, " C"]:
        return _signed_areas(self.vertices, self.triangles)

    @cached_property
    def centroids(self) -> Float64[Tensor, "C 2"]:
        return self.vertices[self.triangles].mean(dim=1)

    @cached_property
    def edges_of_cell(self) -> Int64[Tensor, "C 3"]:
        edges = self.triangles.new_empty(self.triangles.numel())
        edges[self.left_side] = torch.arange(len(self.tags))
        edges[self.right_side] = torch.arange(len(self.right_side))
        return edges.reshape(-1, 3)

    @cached_property
    def outward(self) -> Float64[Tensor, "C 3"]:
        """+1 where the normal of a cell's edge points out of it, −1 where it points in."""
        sign = self.vertices.new_ones(self.triangles.numel())
        sign[self.right_side] = -1
        return sign.reshape(-1, 3)

    @cached_property
    def perimeters(self) -> Float64[Tensor, " C"]:
        return self.lengths[self.edges_of_cell].sum(dim=1)

    @cached_property
    def neighbours(self) -> Int64[Tensor, "C K"]:
        """Cells that share a corner with a cell; rows with fewer than K are padded with the cell itself."""
        cells = len(self.triangles)
        corners = self.triangles.numpy().ravel()
        touches = scipy.sparse.csr_array(
            (np.ones(corners.size), corners, np.arange(0, corners.size + 1, 3)), shape=(cells, len(self.vertices))
        )
        beside = (touches @ touches.T).tocsr()
        beside.setdiag(0)
        beside.eliminate_zeros()
        beside.sort_indices()
        counts = np.diff(beside.indptr)
        padded = np.repeat(np.arange(cells)[:, None], counts.max(initial=1), axis=1)
        padded[np.arange(padded.shape[1]) < counts[:, None]] = beside.indices
        return torch.from_numpy(padded)

    @cached_property
    def _along(self) -> Tensor:
        start, end = self.vertices[self.ends].unbind(1)
        return end - start


def triangle_mesh(
    vertices: Float64[Tensor, "V 2"],
    triangles: Int64[Tensor, "C 3"],
    tag: Callable[[Float64[Tensor, "B 2"]], Int64[Tensor, " B"]],
) -> TriangleMesh:
    """Build a mesh from triangles: find the edges and validate.

    Args:
        triangles: corners, as indices of vertices, anticlockwise.
        tag: maps the midpoints of boundary edges (those of only one triangle) to WALL or FAR.

    Raises ValueError for flat or clockwise triangles, missing or unused vertices, edges of more than two triangles,
    overlapping triangles, and invalid tags.
    """
    if not vertices.isfinite().all():
        raise ValueError("vertices must be finite")
    if len(triangles) == 0 or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ValueError(f"triangles must be indices of vertices 0 to {len(vertices) - 1}")
    unused = len(vertices) - len(triangles.unique())
    if unused:
        raise ValueError(f"{unused} of {len(vertices)} vertices belong to no triangle")
    sides = _sides(triangles)
    squares = (vertices[sides[:, 1]] - vertices[sides[:, 0]]).square().sum(1)
    flat = _signed_areas(vertices, triangles) <= _FLAT * squares.reshape(-1, 3).amax(1)
    if flat.any():
        raise ValueError(f"triangle {int(flat.nonzero()[0])} is flat or clockwise ({int(flat.sum())} in total)")

    _, edge_of_side, counts = sides.sort(dim=1).values.unique(dim=0, return_inverse=True, return_counts=True)
    if counts.max() > 2:
        raise ValueError(f"an edge belongs to {int(counts.max())} triangles")
    by_edge = edge_of_side.argsort(stable=True)
    first = counts.cumsum(0) - counts
    left, paired = by_edge[first], counts == 2
    right = by_edge[first[paired] + 1]
    if not torch.equal(sides[left[paired]], sides[right].flip(1)):
        raise ValueError("two triangles overlap: they share an edge in the same direction")

    left_of_boundary = left[~paired]
    boundary = tag(vertices[sides[left_of_boundary]].mean(dim=1))
    if not torch.isin(boundary, torch.tensor([WALL, FAR])).all():
        raise ValueError(f"boundary edges must be tagged {WALL} (wall) or {FAR} (far)")
    order = boundary.argsort(stable=True)
    return TriangleMesh(
        vertices=vertices,
        triangles=triangles,
        tags=torch.cat([boundary.new_full((len(right),), INTERIOR), boundary[order]]),
        left_side=torch.cat([left[paired], left_of_boundary[order]]),
        right_side=right,
    )


def _sides(triangles: Tensor) -> Tensor:
    """(3 C, 2): the directed edges of all triangles, by cell."""
    return torch.stack([triangles, triangles.roll(-1, dims=1)], dim=-1).reshape(-1, 2)


def _signed_areas(vertices: Tensor, triangles: Tensor) -> Tensor:
    a, b, c = vertices[triangles].unbind(1)
    (ux, uy), (wx, wy) = (b - a).unbind(1), (c - a).unbind(1)
    return (ux * wy - uy * wx) / 2
