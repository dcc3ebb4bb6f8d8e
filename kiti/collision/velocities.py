"""The velocity part of a collision, for a single system and without autograd: KO applies it to gradients."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kiti.collision.backends import backend
from kiti.collision.pairs import Pairs, accepted_pairs, chunks
from kiti.collision.particles import accumulation_dtype
from kiti.collision.random_pairs import shuffled_pairs


@torch.no_grad()
def collide_velocities(
    x: Float[Tensor, "N D"],
    v: Float[Tensor, "N D"],
    coll_coef: int | float,
    *,
    directions: Float[Tensor, "N N D"] | None = None,
    seed: int = 0,
    approach_only: bool = False,
    random_pairs: bool = False,
) -> tuple[Float[Tensor, "N D"], int]:
    """v'_i = v_i + Σ dV_ij over the pairs accepted as in `kiti.collide`, and their number; rows are particles.

    `approach_only` accepts only those pairs with (x_j - x_i)·(v_j - v_i) > 0. `random_pairs` replaces what is accepted
    by as many pairs drawn from the seed. A seed gives the same pairs and directions on every device, up to rounding.
    """
    dtype = accumulation_dtype(v.dtype)
    positions, velocities = x.to(dtype), v.to(dtype)
    first, second = accepted_pairs(positions, velocities, 1.0 - coll_coef)
    if approach_only:
        approaching = _approaching(positions, velocities, first, second)
        first, second = first[approaching], second[approaching]
    if random_pairs and len(first):
        first, second = _as_many_at_random(seed, len(v), first)
    if v.device.type == "cuda":
        kick = backend("triton").kicks(velocities, first, second, seed, directions)
    else:
        given = None if directions is None else directions.cpu()
        kick = backend("numba").kicks(velocities.cpu(), first.cpu(), second.cpu(), seed, given).to(v.device)
    return (velocities + kick).to(v.dtype), len(first)


def _as_many_at_random(seed: int, n: int, accepted: Int[Tensor, " P"]) -> Pairs:
    """As many pairs, in order."""
    [first], [second] = shuffled_pairs(seed, 1, n, len(accepted), accepted.device)
    order = (first * n + second).argsort()
    return first[order], second[order]


def _approaching(
    x: Float[Tensor, "N D"], v: Float[Tensor, "N D"], first: Int[Tensor, " P"], second: Int[Tensor, " P"]
) -> Bool[Tensor, " P"]:
    chosen = [((x[j] - x[i]) * (v[j] - v[i])).sum(1) > 0 for i, j in chunks(first, second, x.shape[1])]
    return torch.cat(chosen) if chosen else torch.zeros_like(first, dtype=torch.bool)
