"""The velocity half of a collision, for a single system and without gradients: what KO does to gradients."""

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.collision.directions import Directions
from kiti.collision.distances import chunk
from kiti.collision.listed import ListedPairs
from kiti.collision.particles import accumulation_dtype
from kiti.collision.search import Pairs, Search, join, no_pairs


@torch.no_grad()
def collide_velocities(
    x: Float[Tensor, "N D"],
    v: Float[Tensor, "N D"],
    coll_coef: int | float,
    *,
    directions: Float[Tensor, "N N D"] | None = None,
    seed: int = 0,
    approach_only: bool = False,
) -> Float[Tensor, "N D"]:
    """v'_i = v_i + Σ dV_ij over the pairs accepted as in `kiti.collide`, rows being particles.

    `approach_only` accepts of these only pairs with (x_j - x_i)·(v_j - v_i) > 0. Directions are drawn on the
    CPU, wherever x is: the same on every device.
    """
    dtype = accumulation_dtype(v.dtype)
    positions, velocities = x.to(dtype), v.to(dtype)
    search = Search(positions[None], velocities[None], 1.0 - coll_coef, dtype, dense_fraction=torch.inf)
    pairs = join([no_pairs(v.device), *(found.pairs for found in search.run() if found.pairs is not None)])
    if approach_only:
        pairs = _approaching(positions, velocities, pairs)
    rows = torch.arange(len(v), device=v.device)
    given = None if directions is None else directions[None]
    listed = ListedPairs(rows, pairs, Directions(given, seed, torch.device("cpu")), key=0)
    return (velocities + listed.sums(None, velocities).kick).to(v.dtype)


def _approaching(x: Float[Tensor, "N D"], v: Float[Tensor, "N D"], pairs: Pairs) -> Pairs:
    size = chunk(max(1, x.shape[1]))
    kept = [no_pairs(x.device)]
    for i, j in zip(pairs.first.split(size), pairs.second.split(size), strict=True):
        kept.append(Pairs(i, j).where(((x[j] - x[i]) * (v[j] - v[i])).sum(1) > 0))
    return join(kept)
