"""The sums of Algorithm 1 over listed pairs, and their adjoint.

What a pair gives i it takes from j, both of the velocity and, after the mean in x* is written as
x*_i = x_i + Σ (x_j - x_i)/2 / (1 + k_i), of the position:

    dV_ij = (v_j - v_i + V_r n_ij)/2 = -dV_ji,      shift_ij = (x_j - x_i)/2 = -shift_ji

With a_i and b_i the gradients of Σ shift_ij and Σ dV_ij, the adjoint is of the same form:

    grad x_i += (a_j - a_i)/2,      grad v_i += (b_j - b_i + (n_ij·(b_j - b_i)/V_r) (v_j - v_i))/2
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kiti.collision.directions import Directions
from kiti.collision.search import Pairs

# Pairs x heads handled at once.
_CHUNK = 1 << 18


class Sums(NamedTuple):
    """By particle: the number of partners, Σ shift_ij and Σ dV_ij."""

    k: Float[Tensor, "T 1"]
    shift: Float[Tensor, "T heads"]
    kick: Float[Tensor, "T heads"]


class ListedPairs:
    """Pairs among the particles `rows` of all (counted through all systems)."""

    def __init__(self, rows: Int[Tensor, " T"], pairs: Pairs, directions: Directions, key: int) -> None:
        self.rows, self.directions, self.key = rows, directions, key
        self.first, self.second = pairs  # places in `rows`

    @classmethod
    def among(cls, pairs: Pairs, particles: int, directions: Directions, key: int) -> "ListedPairs":
        """The pairs, counted through all systems, with `rows` the particles that they touch."""
        touched = torch.zeros(particles, dtype=torch.bool, device=pairs.first.device)
        touched[pairs.first] = True
        touched[pairs.second] = True
        place = torch.cumsum(touched, 0).sub_(1).to(pairs.first.dtype)
        return cls(touched.nonzero()[:, 0], Pairs(place[pairs.first], place[pairs.second]), directions, key)

    def sums(self, x: Float[Tensor, "T heads"] | None, v: Float[Tensor, "T heads"]) -> Sums:
        """The sums of positions x and velocities v of the `rows`; without x, shifts of zero."""
        ones = torch.ones(len(self.first), dtype=v.dtype, device=v.device)
        k = torch.zeros(len(v), dtype=v.dtype, device=v.device)
        _add(k, self.first, ones)
        _add(k, self.second, ones)
        shift, kick = torch.zeros_like(v), torch.zeros_like(v)
        for number, (i, j) in enumerate(self._chunks(v.shape[1])):
            approach = v[j] - v[i]
            n = self._directions(number, i, j, approach)
            given = approach.addcmul_(n, _length(approach)).mul_(0.5)
            _exchange(kick, i, j, given)
            if x is not None:
                _exchange(shift, i, j, (x[j] - x[i]).mul_(0.5))
        return Sums(k[:, None], shift, kick)

    def adjoint(
        self, x: Float[Tensor, "T heads"], v: Float[Tensor, "T heads"], a: Tensor, b: Tensor
    ) -> tuple[Float[Tensor, "T heads"], Float[Tensor, "T heads"]]:
        """What the sums add to the gradients of x and v, given those of Σ shift (a) and Σ dV (b)."""
        grad_x, grad_v = torch.zeros_like(v), torch.zeros_like(v)
        for number, (i, j) in enumerate(self._chunks(v.shape[1])):
            approach = v[j] - v[i]
            n = self._directions(number, i, j, approach)
            speed = _length(approach)
            pull = b[j] - b[i]
            along = (n * pull).sum(1, keepdim=True)
            along = torch.where(speed == 0, 0, along / speed)  # the gradient of |0| is 0
            _exchange(grad_v, i, j, pull.addcmul_(along, approach).mul_(0.5))
            _exchange(grad_x, i, j, (a[j] - a[i]).mul_(0.5))
        return grad_x, grad_v

    def _chunks(self, heads: int) -> list[tuple[Tensor, Tensor]]:
        size = max(1, _CHUNK // heads)
        return list(zip(self.first.split(size), self.second.split(size), strict=True))

    def _directions(self, number: int, i: Tensor, j: Tensor, like: Tensor) -> Tensor:
        return self.directions.of_pairs(self.rows[i], self.rows[j], like, (self.key, number))


def _length(vectors: Float[Tensor, "P heads"]) -> Float[Tensor, "P 1"]:
    return vectors.square().sum(1, keepdim=True).sqrt_()


def _exchange(total: Tensor, i: Tensor, j: Tensor, given: Tensor) -> None:
    """Add `given` at i and take it away at j."""
    _add(total, i, given)
    _add(total, j, given.neg_())


def _add(total: Tensor, index: Tensor, rows: Tensor) -> None:
    # On a GPU index_add_ sums in a random order, index_put_ in a fixed one: replicas must stay bit-identical.
    if total.device.type == "cpu":
        total.index_add_(0, index, rows)
    else:
        total.index_put_((index,), rows, accumulate=True)
