"""The sums of Algorithm 1 over all pairs of some systems, by broadcasting over tiles.

Where a good part of all pairs is accepted, listing them costs more than visiting all. A tile holds some rows i
of some systems against the columns j > i, so that each pair is visited once; formulas as in `listed.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.collision.directions import Directions
from kiti.collision.listed import Sums

# Pairs x heads in a tile, by kind of device: 2 MB of float32, about a core's cache.
_ENTRIES = {"cpu": 1 << 19}
_ENTRIES_ELSEWHERE = 1 << 24


@dataclass(frozen=True)
class Tile:
    """Rows against columns of some systems, all (heads, B, n, m); zero where a pair is not accepted."""

    systems: slice
    rows: slice
    columns: slice
    accepted: Tensor
    approach: Tensor  # v_j - v_i
    speed: Tensor  # V_r
    n: Tensor


class DenseBlock:
    """All pairs of systems start…stop, with the max(V_r) of each."""

    def __init__(
        self, start: int, stop: int, v_max: Float[Tensor, " B"], threshold: float, directions: Directions
    ) -> None:
        self.start, self.stop, self.v_max = start, stop, v_max
        self.threshold, self.directions = threshold, directions

    def sums(self, x: Float[Tensor, "T heads"], v: Float[Tensor, "T heads"]) -> Sums:
        """The sums of positions x and velocities v of all particles of the block."""
        x, v = self._by_heads(x), self._by_heads(v)  # (heads, B, N)
        k, shift, kick = torch.zeros_like(v[:1]), torch.zeros_like(x), torch.zeros_like(v)
        for tile in self._tiles(x, v):
            partners = tile.accepted.to(v.dtype)
            k[:, tile.systems, tile.rows] += partners.sum(3)
            k[:, tile.systems, tile.columns] += partners.sum(2)
            _exchange(kick, tile, (tile.n * tile.speed).add_(tile.approach))
            _exchange(shift, tile, _difference(x, tile.systems, tile.rows, tile.columns))
        return Sums(_by_rows(k), _by_rows(shift), _by_rows(kick))

    def adjoint(
        self, x: Float[Tensor, "T heads"], v: Float[Tensor, "T heads"], a: Tensor, b: Tensor
    ) -> tuple[Float[Tensor, "T heads"], Float[Tensor, "T heads"]]:
        """What the sums add to the gradients of x and v, given those of Σ shift (a) and Σ dV (b)."""
        x, v, a, b = (self._by_heads(t) for t in (x, v, a, b))
        grad_x, grad_v = torch.zeros_like(v), torch.zeros_like(v)
        for tile in self._tiles(x, v):
            where = (tile.systems, tile.rows, tile.columns)
            pull = _difference(b, *where)
            along = (tile.n * pull).sum(0, keepdim=True)
            along = torch.where(tile.accepted & (tile.speed > 0), along / tile.speed, 0)
            _exchange(grad_v, tile, pull.addcmul_(along, tile.approach))
            _exchange(grad_x, tile, _difference(a, *where))
        return _by_rows(grad_x), _by_rows(grad_v)

    def _by_heads(self, rows: Float[Tensor, "T heads"]) -> Float[Tensor, "heads B N"]:
        return rows.unflatten(0, (self.stop - self.start, -1)).permute(2, 0, 1).contiguous()

    def _tiles(self, x: Float[Tensor, "heads B N"], v: Float[Tensor, "heads B N"]) -> Iterator[Tile]:
        heads, count, n = x.shape
        size = max(1, _ENTRIES.get(x.device.type, _ENTRIES_ELSEWHERE) // heads)
        height = max(1, min(-(-n // 4), size // n))  # a few rows, so that little of a tile lies at j <= i
        systems = max(1, size // (height * n))
        for at in range(0, count, systems):
            for top in range(0, n, height):
                some, rows = slice(at, min(at + systems, count)), slice(top, min(top + height, n))
                columns = slice(top, n)
                speed, accepted = self._accept(x, v, some, rows, columns)
                approach = _difference(v, some, rows, columns)
                whole = slice(self.start + some.start, self.start + some.stop)
                n_ij = self.directions.of_tile(whole, rows, columns, approach, (whole.start, top))
                yield Tile(some, rows, columns, accepted, approach, speed, n_ij)

    def _accept(self, x: Tensor, v: Tensor, systems: slice, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """V_r and eq 4, by the formula of `literal`."""
        speed = _difference(v, systems, rows, columns).square_().sum(0, keepdim=True).sqrt_()
        distance = _difference(x, systems, rows, columns).square_().sum(0, keepdim=True).sqrt_()
        v_max = self.v_max[systems][:, None, None]
        accepted = (speed * distance.neg_().exp_() / v_max > self.threshold) & (v_max > 0)
        return speed, accepted & torch.ones_like(accepted[0, 0]).triu_(1)


def _by_rows(total: Float[Tensor, "heads B N"]) -> Float[Tensor, "T heads"]:
    return total.permute(1, 2, 0).flatten(0, 1)


def _difference(
    points: Float[Tensor, "heads B N"], systems: slice, rows: slice, columns: slice
) -> Float[Tensor, "heads b n m"]:
    """p_j - p_i."""
    return points[:, systems, None, columns] - points[:, systems, rows, None]


def _exchange(total: Float[Tensor, "heads B N"], tile: Tile, given: Float[Tensor, "heads b n m"]) -> None:
    """Give i half of each accepted `given` and take it from j."""
    given = given.masked_fill_(~tile.accepted, 0)  # not a product: nothing may spread from a NaN
    total[:, tile.systems, tile.rows].add_(given.sum(3), alpha=0.5)
    total[:, tile.systems, tile.columns].sub_(given.sum(2), alpha=0.5)
