"""Algorithm 1 by visiting only the pairs that can collide: the fast form of `literal`, equal to rounding.

No tensor of pairs x heads is ever whole in memory, in either direction: pairs are found block by block, the
backward keeps their indices and draws their directions again.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from kiti.collision.dense import DenseBlock
from kiti.collision.directions import Directions, directions_for
from kiti.collision.distances import max_distance_over_batch
from kiti.collision.listed import ListedPairs
from kiti.collision.particles import accumulation_dtype, from_particles, to_particles
from kiti.collision.rules import Rules
from kiti.collision.search import Pairs, Search, join, no_pairs
from kiti.collision.statistics import Collisions, collisions

# Up to this many pairs a particle are kept for the backward, which searches again where there are more.
_KEPT = 16


def collide_sparse(
    x: Float[Tensor, "*systems D"],
    v: Float[Tensor, "*systems D"],
    rules: Rules,
    given: Tensor | None,
    seed: int,
) -> tuple[Float[Tensor, "*systems D"], Collisions]:
    """x', and the statistics; `given` are the directions (..., N, N, heads) or None to draw them from `seed`."""
    directions = directions_for(x, rules, given, seed)
    x_new, partners, energy_before, energy_after = _Collide.apply(x, v, rules, directions)
    return x_new, collisions(partners, energy_before, energy_after)


class _Collide(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, v: Tensor, rules: Rules, directions: Directions
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x_new = torch.add(x, v, alpha=rules.dt)
        search = _search(x, v, rules)
        out = _rows(x_new, rules)  # may be x_new itself, seen as particles
        k = torch.zeros(len(out), 1, dtype=search.dtype, device=x.device)
        energy = torch.linalg.vector_norm(v, dtype=search.dtype).square()
        gain = torch.zeros_like(energy)

        listed, ctx.blocks = [no_pairs(x.device)], []
        for start, stop, pairs in search.run():
            if pairs is not None and len(pairs.first) <= _KEPT * (stop - start) * search.n:
                listed.append(Pairs(*(end + start * search.n for end in pairs)))
            else:
                ctx.blocks.append((start, stop, pairs is None))
                gain += _collide(out, k, *_block(search, start, stop, pairs, directions), search, rules)
        first, second = join(listed)
        if len(first):
            gain += _collide(out, k, *_listed(search, Pairs(first, second), directions), search, rules)

        if ctx.blocks or len(first):
            x_new = from_particles(out.unflatten(0, (-1, search.n)), x.shape, rules.layout)
        ctx.rules, ctx.directions = rules, directions
        ctx.save_for_backward(x, v, k, first, second, search.batch_max)
        partners, energy_after = k.sum() / max(len(k), 1), energy + gain
        ctx.mark_non_differentiable(partners, energy, energy_after)
        return x_new, partners, energy, energy_after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor, Tensor, None, None]:
        x, v, k, first, second, batch_max = ctx.saved_tensors
        rules, directions = ctx.rules, ctx.directions
        grad_x, grad_v = grad, grad * rules.dt
        if not ctx.blocks and not len(first):
            return grad_x, grad_v, None, None
        with torch.autocast(x.device.type, enabled=False):
            search = _search(x, v, rules, batch_max)
            out = _rows(grad, rules).clone(), _rows(grad_v, rules).clone()
            for start, stop, dense in ctx.blocks:
                pairs = None if dense else search.again(start, stop)
                _pull_back(grad, out, k, *_block(search, start, stop, pairs, directions), search, rules)
            if len(first):
                _pull_back(grad, out, k, *_listed(search, Pairs(first, second), directions), search, rules)
            grad_x, grad_v = (from_particles(rows.unflatten(0, (-1, search.n)), x.shape, rules.layout) for rows in out)
        return grad_x, grad_v, None, None


def _collide(
    out: Float[Tensor, "P heads"],
    k: Float[Tensor, "P 1"],
    rows: Int[Tensor, " T"],
    pairs: ListedPairs | DenseBlock,
    search: Search,
    rules: Rules,
) -> Float[Tensor, ""]:
    """Eq 5 for the particles `rows`, into `out` and `k`; returns by how much Σ|v|² grew."""
    x, v = _take(search.x, rows, search.dtype), _take(search.v, rows, search.dtype)
    sums = pairs.sums(x, v)
    v_new = v + sums.kick * _weight(sums.k, rules)
    x_star = x + sums.shift / (1 + sums.k) if rules.position_update else x
    x_new = torch.add(x_star, v_new, alpha=rules.dt).to(out.dtype)
    met = sums.k > 0  # the others keep x + dt v in the arithmetic of their own dtype
    out[rows] = torch.where(met, x_new, out[rows])
    k[rows] = sums.k
    return torch.where(met, v_new.square() - v.square(), 0).sum()


def _pull_back(
    grad: Float[Tensor, "*systems D"],
    out: tuple[Float[Tensor, "P heads"], Float[Tensor, "P heads"]],
    k: Float[Tensor, "P 1"],
    rows: Int[Tensor, " T"],
    pairs: ListedPairs | DenseBlock,
    search: Search,
    rules: Rules,
) -> None:
    """The adjoint of `_collide`: the gradients of x and v at `rows`, into `out`."""
    x, v = _take(search.x, rows, search.dtype), _take(search.v, rows, search.dtype)
    g = _take(to_particles(grad, rules.collision_heads, rules.layout), rows, search.dtype)
    partners = k[rows]
    a = g / (1 + partners) if rules.position_update else torch.zeros_like(g)
    b = g * _weight(partners, rules) * rules.dt
    more_x, more_v = pairs.adjoint(x, v, a, b)
    out[0][rows] = (g + more_x).to(grad.dtype)
    out[1][rows] = (g * rules.dt + more_v).to(grad.dtype)


def _weight(k: Float[Tensor, "T 1"], rules: Rules) -> Float[Tensor, "T 1"]:
    """What multiplies Σ dV."""
    return k.clamp_min(1).reciprocal() if rules.reduction == "mean" else torch.ones_like(k)


def _search(x: Tensor, v: Tensor, rules: Rules, batch_max: Tensor | None = None) -> Search:
    x, v = (to_particles(t.detach(), rules.collision_heads, rules.layout) for t in (x, v))
    dtype = accumulation_dtype(v.dtype)
    if rules.max_over == "batch" and batch_max is None and v.numel():
        batch_max = max_distance_over_batch(v, dtype)
    mutual = rules.reduction == "max_one"
    return Search(x, v, rules.threshold, dtype, mutual=mutual, batch_max=batch_max)


def _block(
    search: Search, start: int, stop: int, pairs: Pairs | None, directions: Directions
) -> tuple[Int[Tensor, " T"], ListedPairs | DenseBlock]:
    """All particles of systems start…stop, and what sums over their pairs."""
    rows = torch.arange(start * search.n, stop * search.n, device=search.x.device)
    if pairs is None:
        return rows, DenseBlock(start, stop, search.max_speed(start, stop), search.threshold, directions)
    return rows, ListedPairs(rows, pairs, directions, key=start)


def _listed(search: Search, pairs: Pairs, directions: Directions) -> tuple[Int[Tensor, " T"], ListedPairs | DenseBlock]:
    """The particles that the pairs touch, and what sums over them."""
    listed = ListedPairs.among(pairs, search.systems * search.n, directions, key=-1)
    return listed.rows, listed


def _rows(features: Float[Tensor, "*systems D"], rules: Rules) -> Float[Tensor, "P heads"]:
    return to_particles(features, rules.collision_heads, rules.layout).flatten(0, 1).contiguous()


def _take(particles: Float[Tensor, "S N heads"], rows: Int[Tensor, " T"], dtype: torch.dtype) -> Tensor:
    n = particles.shape[1]
    return particles[rows // n, rows % n].to(dtype)
