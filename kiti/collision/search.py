"""Which pairs collide, found without looking at most of them.

A pair can only be accepted where X_r < -ln(1 - coll_coef) and V_r > (1 - coll_coef) max(V_r). Gram matrices
find the pairs that may fulfil both, with a margin for their rounding; only those are then tried exactly, by
the formula of the literal implementation, so that both accept the same pairs.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kiti.collision.distances import block_size, chunk, closeness, distance, entries, max_distance
from kiti.collision.mutual import best_of_either, mutual_best
from kiti.collision.windows import windows


class Pairs(NamedTuple):
    """Pairs i < j of the same system, particles counted through all systems of a search."""

    first: Int[Tensor, " P"]
    second: Int[Tensor, " P"]

    def where(self, chosen: Bool[Tensor, " P"] | Int[Tensor, " Q"]) -> "Pairs":
        """Those that a mask or index chooses."""
        return Pairs(self.first[chosen], self.second[chosen])


def no_pairs(device: torch.device) -> Pairs:
    """The empty list."""
    none = torch.zeros(0, dtype=torch.long, device=device)
    return Pairs(none, none)


def join(lists: list[Pairs]) -> Pairs:
    """Several lists as one."""
    if len(lists) == 1:
        return lists[0]
    return Pairs(torch.cat([p.first for p in lists]), torch.cat([p.second for p in lists]))


class Found(NamedTuple):
    """The search of systems start…stop: their pairs (counted from `start`), or None where they are too many."""

    start: int
    stop: int
    pairs: Pairs | None


class Search:
    """Finds the accepted pairs of x, v (S, N, heads), read as `dtype`.

    Where `dense_fraction` of all pairs or more are candidates the answer is None (visit all of them instead);
    infinity always lists. `mutual` keeps pairs that choose each other. `batch_max` stands for max(V_r) of
    every system.
    """

    def __init__(
        self,
        x: Float[Tensor, "S N heads"],
        v: Float[Tensor, "S N heads"],
        threshold: float,
        dtype: torch.dtype,
        *,
        mutual: bool = False,
        dense_fraction: float = 0.5,
        batch_max: Float[Tensor, ""] | None = None,
    ) -> None:
        self.x, self.v, self.dtype = x, v, dtype
        self.threshold = threshold
        self.mutual = mutual
        self.dense_fraction = math.inf if mutual else dense_fraction
        self.batch_max = batch_max
        self.systems, self.n, self.heads = x.shape
        # exp and the division round: a hair outside the cut-off may still be accepted.
        slack = 8 * torch.finfo(dtype).eps
        self.radius = (math.inf if threshold <= 0 else -math.log(threshold)) * (1 + slack) + slack
        self.speed = threshold * (1 - slack)

    def run(self) -> Iterator[Found]:
        """All systems in order, a block at a time."""
        if self.threshold >= 1 or self.n < 2 or not self.systems:
            return  # no score exceeds 1
        size = block_size(self.x)
        for start in range(0, self.systems, size):
            yield from self._find(start, min(start + size, self.systems))

    def again(self, start: int, stop: int) -> Pairs:
        """The pairs of a block that `run` found and its caller did not keep."""
        (found,) = self._find(start, stop)
        assert found.pairs is not None
        return found.pairs

    def max_speed(self, start: int, stop: int) -> Float[Tensor, " B"]:
        """max(V_r) of each system, or what replaces it over a batch. NaN where a velocity is NaN."""
        if self.batch_max is not None:
            return self.batch_max.expand(stop - start)
        return max_distance(self.v[start:stop].to(self.dtype))

    def _find(self, start: int, stop: int) -> Iterator[Found]:
        x, v = (t[start:stop].to(self.dtype).contiguous() for t in (self.x, self.v))
        if self.heads == 1:
            yield from self._find_by_windows(start, stop, x, v)
        else:
            yield Found(start, stop, self._find_by_gram(x, v))

    def _find_by_windows(self, start: int, stop: int, x: Tensor, v: Tensor) -> Iterator[Found]:
        v_max = self.max_speed(start, stop)
        found = windows(x[..., 0], v[..., 0], self.radius, self.speed * v_max)
        for a, b in _runs(found.length.sum(1).tolist(), entries(x.device)):
            part = found.of_systems(a, b)
            if part.count() >= self._dense(b - a):
                yield Found(start + a, start + b, None)
            else:
                pairs, score = self._try(x[a:b], v[a:b], v_max[a:b], *part.pairs())
                yield Found(start + a, start + b, self._choose(pairs, score, b - a))

    def _find_by_gram(self, x: Tensor, v: Tensor) -> Pairs | None:
        systems, n, _ = x.shape
        if math.isinf(self.radius) and self._dense(systems) < math.inf:
            return None
        rows = max(1, entries(x.device) // n)
        v_max, found, scores, candidates = None, [no_pairs(x.device)], [x[:0, 0, 0]], 0
        for top in range(0, n, rows):  # one turn unless a single system exceeds the block
            bottom = min(top + rows, n)
            near, margin = closeness(x, top, bottom)
            near.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
            bound = -(self.radius**2) / 2 - margin
            # Mostly no row has a candidate, and this is the whole search. Not "≥": a NaN is tried exactly.
            system, i = (~(near.amax(2) < bound[:, None])).nonzero(as_tuple=True)
            if len(i) == 0:
                continue
            tried = ~(near[system, i] < bound[system, None])  # (R, m), R such rows
            tried &= torch.arange(n - top, device=x.device) > i[:, None]  # each unordered pair once
            if v_max is None:  # only of the systems that need it; a second turn has but one system
                v_max = self._max_of(v, system.unique_consecutive())
            if tried.count_nonzero() * 32 > near.numel():
                near, margin = closeness(v, top, bottom)
                bound = margin - (self.speed * v_max) ** 2 / 2
                tried &= ~(near[system, i] > bound[system, None])
            row, j = tried.nonzero(as_tuple=True)
            candidates += len(row)
            if candidates >= self._dense(systems):
                return None
            base = system[row] * n + top
            pairs, score = self._try(x, v, v_max, base + i[row], base + j)
            if self.mutual and rows < n:
                best = best_of_either(*pairs, score, systems * n)
                pairs, score = pairs.where(best), score[best]
            found.append(pairs)
            scores.append(score)
        return self._choose(join(found), torch.cat(scores), systems)

    def _dense(self, systems: int) -> float:
        """From this many candidates on it is cheaper to visit all pairs."""
        return self.dense_fraction * systems * self.n * (self.n - 1) / 2

    def _max_of(self, v: Tensor, members: Tensor) -> Tensor:
        """max(V_r) of the systems `members`, NaN for the others."""
        if self.batch_max is not None:
            return self.batch_max.expand(len(v))
        high = torch.full((len(v),), torch.nan, dtype=v.dtype, device=v.device)
        return high.index_copy_(0, members, max_distance(v[members]))

    def _try(
        self, x: Tensor, v: Tensor, v_max: Tensor, first: Tensor, second: Tensor
    ) -> tuple[Pairs, Float[Tensor, " P"]]:
        """Of the candidates those that eq 4 accepts, and their scores."""
        x, v = x.flatten(0, 1), v.flatten(0, 1)
        kept, scores, size = [], [], chunk(self.heads)
        for i, j in zip(first.split(size), second.split(size), strict=True):
            high = v_max[i // self.n]
            score = distance(v, i, j) * torch.exp(-distance(x, i, j)) / high
            accepted = ((score > self.threshold) & (high > 0)).nonzero()[:, 0]
            kept.append(Pairs(i[accepted], j[accepted]))
            scores.append(score[accepted])
        return join(kept), torch.cat(scores)

    def _choose(self, pairs: Pairs, score: Tensor, systems: int) -> Pairs:
        return pairs.where(mutual_best(*pairs, score, systems * self.n)) if self.mutual else pairs


def _runs(counts: list[int], limit: int) -> Iterator[tuple[int, int]]:
    """Consecutive systems whose counts sum to at most `limit`, or single ones above it."""
    start, total = 0, 0
    for system, count in enumerate(counts):
        if system > start and total + count > limit:
            yield start, system
            start, total = system, 0
        total += count
    yield start, len(counts)
