"""Linear reconstruction in each triangle from cell averages: least squares, limiter, values at edges and vertices."""

from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

from kiti.pde.triangles import TriangleMesh

# Within a cell, density and pressure may fall to this share of the cell average.
_LEAST_SHARE = 0.1
_TINY = 1e-300
_POSITIVE = (0, 3)
"""Indices into (ρ, u, v, p)."""


class LinearReconstruction:
    """ρ, u, v, p in each cell as q + φ g·(x − centroid), exact for linear functions wherever φ = 1.

    g is the least-squares gradient; the difference to each cell that shares a corner is weighted by 1 / distance. φ is
    the limiter of Barth and Jespersen, one per variable: at the midpoints of interior edges, q stays within the range
    of the cell and those neighbours. It does not apply at boundary edges, which lie beyond the neighbours, so linear
    functions are preserved there, too. Then φ is lowered for ρ and p where their minimum in the cell, which a linear
    function has at a corner, would be below a tenth of the average; so both are positive everywhere.

    Memory: fields are (4, cells, batch), so that reading a neighbour copies a row and arithmetic runs on whole rows.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        self.mesh = mesh
        self._neighbours = [column.contiguous() for column in mesh.neighbours.unbind(1)]

    def slopes(
        self, q: Float64[Tensor, "4 C batch"], flat: Float64[Tensor, "C batch"] | None = None
    ) -> tuple[Float64[Tensor, "4 C batch"], Float64[Tensor, "4 C batch"]]:
        """φ g, its x and y components; 0 where `flat` is 1."""
        least, most = q.clone(), q.clone()
        gx, gy = -self._own[0] * q, -self._own[1] * q
        for cells, (wx, wy) in zip(self._neighbours, self._weights, strict=True):
            there = q.index_select(1, cells)
            torch.minimum(least, there, out=least)
            torch.maximum(most, there, out=most)
            gx.addcmul_(there, wx)
            gy.addcmul_(there, wy)

        # No change, no limit: tiny / tiny is 1. (fmin, which would ignore 0 / 0, is ten times slower than minimum.)
        down, up = (q - least).add_(_TINY), (most - q).add_(_TINY)
        limit = torch.ones_like(q)
        for dx, dy in self._to_interior_midpoints:
            change = (gx * dx).addcmul_(gy, dy)
            room = torch.where(change > 0, up, down)
            torch.minimum(limit, room.div_(change.abs_().add_(_TINY)), out=limit)
        for variable in _POSITIVE:
            drop = torch.zeros_like(q[variable])
            for dx, dy in self._to_corners:
                torch.minimum(drop, gx[variable] * dx + gy[variable] * dy, out=drop)
            share = (_LEAST_SHARE - 1) * q[variable] / drop
            torch.minimum(limit[variable], torch.where(drop < 0, share, 1.0), out=limit[variable])
        if flat is not None:
            limit *= 1 - flat
        return gx * limit, gy * limit

    def sides(
        self, q: Float64[Tensor, "4 C batch"], flat: Float64[Tensor, "C batch"] | None = None
    ) -> tuple[Float64[Tensor, "4 E batch"], Float64[Tensor, "4 I batch"]]:
        """Values at edge midpoints, from the left cell of each edge and the right cell of each interior edge."""
        gx, gy = self.slopes(q, flat)
        values = q.new_empty(4, q.shape[1], 3, q.shape[2])
        for side, (dx, dy) in enumerate(self._to_midpoints):
            torch.addcmul(q, gx, dx, out=values[:, :, side]).addcmul_(gy, dy)
        values = values.flatten(1, 2)
        return values.index_select(1, self.mesh.left_side), values.index_select(1, self.mesh.right_side)

    def at_vertices(self, q: Float64[Tensor, "4 C batch"]) -> Float64[Tensor, "4 V batch"]:
        """Mean of the vertex values of all cells at a vertex, weighted by 1 / distance of their centroids.

        Linear functions are preserved, also at boundaries; near a shock the averaged functions are already limited;
        density and pressure are positive because they are so at every corner of every cell.
        """
        gx, gy = self.slopes(q)
        total = q.new_zeros(4, len(self.mesh.vertices), q.shape[2])
        weights = q.new_zeros(len(self.mesh.vertices))
        for (dx, dy), corner in zip(self._to_corners, self.mesh.triangles.unbind(1), strict=True):
            weight = 1 / torch.hypot(dx, dy)
            total.index_add_(1, corner, (q + gx * dx + gy * dy) * weight)
            weights.index_add_(0, corner, weight[:, 0])
        return total / weights[:, None]

    @cached_property
    def _weights(self) -> list[tuple[Tensor, Tensor]]:
        """For each column of `neighbours`, the weights of their values in both components of g, (C, 1) each."""
        away = self.mesh.centroids[self.mesh.neighbours] - self.mesh.centroids[:, None]  # (C, K, 2)
        squares = away.square().sum(-1, keepdim=True)
        weighted = torch.where(squares > 0, away / squares, 0.0)
        normal_matrix = weighted.transpose(1, 2) @ away  # (C, 2, 2)
        if not (torch.linalg.cond(normal_matrix) < 1e8).all():
            raise ValueError("a cell has too few neighbours for a gradient: all of them are on a line with it")
        solved = torch.linalg.solve(normal_matrix, weighted.transpose(1, 2))  # (C, 2, K)
        return [(x[:, None].contiguous(), y[:, None].contiguous()) for x, y in solved.permute(2, 1, 0)]

    @cached_property
    def _own(self) -> tuple[Tensor, Tensor]:
        x, y = zip(*self._weights, strict=True)
        return torch.stack(x).sum(0), torch.stack(y).sum(0)

    @cached_property
    def _to_midpoints(self) -> list[tuple[Tensor, Tensor]]:
        """From the centroid of a cell to the midpoints of its three edges, (C, 1) per component."""
        return _by_side(self.mesh.midpoints[self.mesh.edges_of_cell] - self.mesh.centroids[:, None])

    @cached_property
    def _to_interior_midpoints(self) -> list[tuple[Tensor, Tensor]]:
        """The same, but 0 for boundary edges, so that nothing changes there."""
        inside = (self.mesh.edges_of_cell < len(self.mesh.right_side)).unbind(1)
        return [
            (dx * here[:, None], dy * here[:, None]) for (dx, dy), here in zip(self._to_midpoints, inside, strict=True)
        ]

    @cached_property
    def _to_corners(self) -> list[tuple[Tensor, Tensor]]:
        return _by_side(self.mesh.vertices[self.mesh.triangles] - self.mesh.centroids[:, None])


def _by_side(away: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(C, 3, 2) to three pairs of components, (C, 1) each."""
    return [(away[:, k, :1].contiguous(), away[:, k, 1:].contiguous()) for k in range(3)]
