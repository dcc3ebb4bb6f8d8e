"""Counts how many pairs would collide for each coll_coef and collision_heads (A7)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.residual import Residual

Systems = tuple[Float[Tensor, "S D"], Float[Tensor, "S D"]]

# Scores of a module in memory at once, about 64 MB.
_SCORES = 2**24


class Tap(Residual):
    """A residual connection x + v that stores its inputs while `open`: `systems` has (x, v), each (S, D), per call."""

    def __init__(self, system_axis: int = -1) -> None:
        super().__init__()
        self.system_axis = system_axis
        self.systems: list[Systems] = []
        self.open = False

    def join(self, x: Tensor, v: Tensor) -> Tensor:
        if self.open:
            rows = (t.detach().movedim(self.system_axis, -1).flatten(0, -2).float() for t in (x, v))
            self.systems.append((next(rows), next(rows)))
        return self.drift(x, v)


@dataclass(frozen=True)
class Acceptance:
    """Colliding pairs in a system of `particles` particles of dimension `collision_heads`.

    pairs_per_system: by coll_coef. one_pair: the coll_coef at which the mean is one pair per system.
    """

    collision_heads: int
    particles: int
    pairs_per_system: dict[float, float]
    one_pair: float

    def partners(self, coll_coef: float) -> float:
        """Accepted partners per particle."""
        return 2 * self.pairs_per_system[coll_coef] / self.particles


def pair_scores(x: Float[Tensor, "S D"], v: Float[Tensor, "S D"], collision_heads: int) -> Float[Tensor, "S P"]:
    """V_r exp(-X_r) / max V_r of every pair (eq. 4, contiguous layout); it collides if this exceeds 1 - coll_coef."""
    particles = x.shape[-1] // collision_heads
    first, second = torch.triu_indices(particles, particles, offset=1)

    def distances(rows: Tensor) -> Tensor:
        cut = rows.unflatten(-1, (particles, collision_heads))
        return torch.cdist(cut, cut, compute_mode="donot_use_mm_for_euclid_dist")[:, first, second]

    speed = distances(v)
    fastest = speed.amax(dim=1, keepdim=True)
    return torch.where(fastest > 0, speed / fastest, 0) * torch.exp(-distances(x))


def acceptance(systems: Systems, collision_heads: int, coefficients: list[float], seed: int = 0) -> Acceptance:
    """Measured on a random subset of `systems` that fits into memory; at least two particles are required."""
    x, v = systems
    particles = x.shape[-1] // collision_heads
    most = max(1, _SCORES // particles**2)
    if len(x) > most:
        chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:most]
        x, v = x[chosen], v[chosen]
    scores = pair_scores(x, v, collision_heads).flatten().sort(descending=True).values
    counts = {c: int((scores > 1 - c).sum()) / len(x) for c in coefficients}
    return Acceptance(collision_heads, particles, counts, one_pair=1 - float(scores[len(x) - 1]))
