"""Algorithm 1 of KITINet as written: the reference. O(N² · heads) memory per system, plain autograd."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kiti.collision.directions import all_directions
from kiti.collision.particles import accumulation_dtype, from_particles, to_particles
from kiti.collision.random_pairs import pair_numbers
from kiti.collision.rules import Rules
from kiti.collision.statistics import Collisions, collisions


def collide_literal(
    features_x: Float[Tensor, "*systems D"],
    features_v: Float[Tensor, "*systems D"],
    rules: Rules,
    given: Tensor | None,
    seed: Int[Tensor, ""],
) -> tuple[Float[Tensor, "*systems D"], Int[Tensor, "*systems N"], Collisions]:
    """x', k, and the statistics; `given` are the directions (..., N, N, heads) or None to draw them from `seed`.

    Pairs at random are drawn from `seed` in either case.
    """
    dtype = accumulation_dtype(features_x.dtype)
    x = to_particles(features_x, rules.collision_heads, rules.layout).to(dtype)  # (S, N, heads)
    v = to_particles(features_v, rules.collision_heads, rules.layout).to(dtype)
    x_i, x_j = x[:, :, None], x[:, None, :]  # (S, N, 1, heads), (S, 1, N, heads)
    v_i, v_j = v[:, :, None], v[:, None, :]

    accepted = _acceptance(x.detach(), v.detach(), rules)  # (S, N, N), carries no gradient
    if rules.pairing == "random":
        accepted = _as_many_at_random(accepted, rules, seed)
    accepted = accepted[..., None]  # (S, N, N, 1)
    k = accepted.sum(2).to(dtype)  # (S, N, 1)

    # Differences are masked before the norm: neither a NaN nor the gradient of |0| may reach another particle.
    if rules.terms == "means":
        dv = (v_i + v_j) / 2 - v_i
    else:
        v_r = _safe_norm(torch.where(accepted, v_i - v_j, 0))  # (S, N, N, 1)
        apart = (v_i - v_j).detach()  # (S, N, N, heads)
        n = all_directions(seed, apart) if given is None else given.detach().to(dtype).reshape_as(apart)
        dv = v_r * n / 2 if rules.terms == "kicks" else (v_i + v_j) / 2 + v_r * n / 2 - v_i
    x_cm = (x_i + x_j) / 2

    sum_dv = torch.where(accepted, dv, 0).sum(2)  # (S, N, heads)
    if rules.reduction == "mean":
        sum_dv = sum_dv / k.clamp_min(1)
    v_new = v + sum_dv
    x_star = (x + torch.where(accepted, x_cm, 0).sum(2)) / (1 + k) if rules.position_update else x
    x_new = x_star + rules.dt * v_new

    # A particle without partners moves exactly as at inference, computed in its own dtype.
    free = torch.add(features_x, features_v, alpha=rules.dt)
    collided = from_particles(x_new.to(free.dtype), free.shape, rules.layout)
    touched = from_particles((k > 0).expand_as(x), free.shape, rules.layout)
    partners = k.sum() / max(k.numel(), 1)
    counts = k[..., 0].to(torch.int32).reshape(*free.shape[:-1], x.shape[1])
    return torch.where(touched, collided, free), counts, collisions(partners, _energy(v), _energy(v_new))


def _acceptance(x: Float[Tensor, "S N heads"], v: Float[Tensor, "S N heads"], rules: Rules) -> Bool[Tensor, "S N N"]:
    """Eq 4: V_r U_r / max(V_r) > 1 - coll_coef, and for `max_one` only pairs that choose each other."""
    v_r = (v[:, :, None] - v[:, None, :]).square().sum(-1).sqrt()  # (S, N, N)
    x_r = (x[:, :, None] - x[:, None, :]).square().sum(-1).sqrt()
    u_r = torch.exp(-x_r)
    if v_r.numel() == 0:
        return v_r > 0
    v_max = v_r.amax() if rules.max_over == "batch" else v_r.amax((1, 2), keepdim=True)
    score = v_r * u_r / v_max
    accepted = (score > rules.threshold) & (v_max > 0)  # if all v are equal, 0/0 accepts nothing
    return _mutual_best(accepted, score) if rules.reduction == "max_one" else accepted


def _as_many_at_random(accepted: Bool[Tensor, "S N N"], rules: Rules, seed: Int[Tensor, ""]) -> Bool[Tensor, "S N N"]:
    """As many pairs of each system, whichever they are; couples for `max_one`, so that nobody has two partners."""
    systems, n = accepted.shape[:2]
    numbers = pair_numbers(seed, systems, n, rules.reduction == "max_one", accepted.device)  # (S, N, N)
    return numbers < accepted.sum((1, 2))[:, None, None] // 2


def _mutual_best(accepted: Bool[Tensor, "S N N"], score: Float[Tensor, "S N N"]) -> Bool[Tensor, "S N N"]:
    """Pairs that are each other's highest accepted score; among equal scores the lowest (i, j) wins."""
    n = score.shape[1]
    score = torch.where(accepted, score, -torch.inf)
    highest = accepted & (score == score.amax(2, keepdim=True))
    i = torch.arange(n, device=score.device)
    order = torch.minimum(i[:, None], i) * n + torch.maximum(i[:, None], i)  # (N, N), the same for ij and ji
    order = torch.where(highest, order, n * n)
    chosen = highest & (order == order.amin(2, keepdim=True))
    return chosen & chosen.transpose(1, 2)


def _safe_norm(difference: Float[Tensor, "S N N heads"]) -> Float[Tensor, "S N N 1"]:
    """|difference| with gradient 0 at 0."""
    square = difference.square().sum(-1, keepdim=True)
    zero = square == 0
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def _energy(v: Float[Tensor, "S N heads"]) -> Float[Tensor, ""]:
    return v.detach().square().sum()
