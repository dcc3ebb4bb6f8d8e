"""Candidate pairs of particles on a line (collision_heads = 1), found by sorting.

On a line both halves of the cut-off are intervals: with x sorted, the partners within the radius of a particle
are the ones just after it; with v sorted, its fast-enough partners are a tail. Counting either costs a binary
search a particle, and a system uses the shorter of both lists.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Particle order[s, p] may collide with order[s, q] for begin[s, p] <= q < begin[s, p] + length[s, p]."""

    order: Int[Tensor, "B N"]
    begin: Int[Tensor, "B N"]
    length: Int[Tensor, "B N"]

    def of_systems(self, start: int, stop: int) -> "Windows":
        """The windows of systems start…stop alone."""
        return Windows(self.order[start:stop], self.begin[start:stop], self.length[start:stop])

    def count(self) -> int:
        """How many candidates there are."""
        return int(self.length.sum())

    def pairs(self) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
        """The candidates i < j, particles counted through all systems."""
        b, n = self.order.shape
        length = self.length.flatten()
        owner = torch.repeat_interleave(length)  # sorted place of i, counted through all systems
        behind = torch.cumsum(length, 0) - length
        place = torch.arange(len(owner), device=owner.device) - behind[owner] + self.begin.flatten()[owner]
        offset = torch.arange(0, b * n, n, device=owner.device)[:, None]
        particle = (self.order + offset).flatten()
        i, j = particle[owner], particle[owner // n * n + place]
        return torch.minimum(i, j), torch.maximum(i, j)


def windows(x: Float[Tensor, "B N"], v: Float[Tensor, "B N"], radius: float, speed: Float[Tensor, " B"]) -> Windows:
    """Candidates for |x_i - x_j| < radius and |v_i - v_j| > speed: all that fulfil both, and some more.

    Systems whose `speed` is NaN have none.
    """
    n = x.shape[1]
    after = torch.arange(1, n + 1, device=x.device).expand(x.shape)  # each unordered pair once
    v_sorted, v_order = v.sort(1)
    slack = 4 * torch.finfo(v.dtype).eps
    reach = v_sorted + speed[:, None]
    reach -= slack * (v_sorted.abs() + speed[:, None])
    tail = torch.maximum(torch.searchsorted(v_sorted, reach), after)
    by_speed = Windows(v_order, tail, n - tail)

    x_sorted, x_order = x.sort(1)
    reach = x_sorted + radius
    reach += slack * (x_sorted.abs() + radius)
    end = torch.searchsorted(x_sorted, reach, right=True)
    by_place = Windows(x_order, after, (end - after).clamp_min_(0))

    shorter = by_speed.length.sum(1, keepdim=True) <= by_place.length.sum(1, keepdim=True)
    pick = [torch.where(shorter, getattr(by_speed, f), getattr(by_place, f)) for f in ("order", "begin", "length")]
    pick[2] = torch.where(speed.isnan()[:, None], 0, pick[2])
    return Windows(*pick)
