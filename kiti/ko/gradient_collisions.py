"""`soft_collision` and `hard_collision`: what KO does to the gradient of one matrix, whose rows are neurons."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from kiti.collision.checks import check_alike, check_directions
from kiti.collision.directions import draw_seed
from kiti.collision.particles import accumulation_dtype
from kiti.collision.precision import without_autocast
from kiti.collision.rules import check_coll_coef
from kiti.collision.velocities import collide_velocities

# Cosines that a soft collision holds in memory at once.
_ENTRIES = 1 << 22


@torch.no_grad()
def soft_collision(
    weight: Shaped[Tensor, "..."],
    grad: Shaped[Tensor, "..."],
    coll_coef: int | float,
    *,
    include_self: bool = True,
    normalize: bool = False,
) -> Shaped[Tensor, "..."]:
    """g' = g + coll_coef · Δg, Δg = -(cos(w, w) ∘ cos(g, g)) g, with ∘ the elementwise product.

    N condensed neurons give (1 - coll_coef N) g, so descent turns into ascent at coll_coef > 1/N.

    Args:
        weight: (N, D), neurons are rows.
        grad: (N, D), its gradient.
        coll_coef: finite, at least 0.
        include_self: False leaves out i = j, which shrinks a neuron's own gradient by 1 - coll_coef.
        normalize: divide Δg by N.

    Returns:
        g', (N, D), in the dtype of `grad`; half precision is computed in float32. cos of a zero row is 0. A row with a
        number that is not finite keeps its own gradient and is left out of the others'.

    Raises:
        ValueError: an argument is out of range; the message gives its value and what is allowed.

    Example:
        >>> import torch, kiti
        >>> weight, grad = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> kiti.soft_collision(weight, grad, coll_coef=0.1)  # only i = j is alike
        tensor([[0.9000, 0.0000],
                [0.0000, 1.8000]])
    """
    return soft_collision_relabelled(weight, grad, coll_coef, None, include_self=include_self, normalize=normalize)


@torch.no_grad()
def soft_collision_relabelled(
    weight: Shaped[Tensor, "..."],
    grad: Shaped[Tensor, "..."],
    coll_coef: int | float,
    generator: torch.Generator | None,
    *,
    include_self: bool = True,
    normalize: bool = False,
) -> Shaped[Tensor, "..."]:
    """`soft_collision` between the wrong neurons, a placebo: with S = cos(w, w) ∘ cos(g, g),

        Δg_i = -Σ_j S_p(i)p(j) g_j

    p is a permutation of the neurons, drawn from one seed of `generator`; None: the identity. So the same similarities
    act, each between a pair drawn at random, and a neuron's with itself stays its own. Rows with a number that is not
    finite stay in their place.
    """
    _check_matrices(weight, grad)
    check_soft_coef(coll_coef)
    with without_autocast(grad):
        dtype = accumulation_dtype(grad.dtype)
        w, g = weight.to(dtype), grad.to(dtype)
        finite = _finite_rows(w, g)
        w, others = torch.where(finite, w, 0), torch.where(finite, g, 0)
        unit_w, unit_g = _unit_rows(w), _unit_rows(others)
        if generator is not None and not grad.is_meta:
            label = _labels(finite, generator)
            unit_w, unit_g = unit_w[label], unit_g[label]
        scale = coll_coef / max(1, len(w)) if normalize else coll_coef
        collided = torch.empty_like(g)
        rows = max(1, _ENTRIES // max(1, len(g)))
        for top in range(0, len(g), rows):  # a few rows at a time: wide layers never hold all of N x N
            some = slice(top, top + rows)
            similar = (unit_w[some] @ unit_w.T).mul_(unit_g[some] @ unit_g.T)
            if not include_self:
                similar.diagonal(top).fill_(0)
            torch.addmm(g[some], similar, others, alpha=-scale, out=collided[some])
        return collided.to(grad.dtype)


@torch.no_grad()
def hard_collision(
    weight: Shaped[Tensor, "..."],
    grad: Shaped[Tensor, "..."],
    coll_coef: int | float,
    *,
    directions: Shaped[Tensor, "..."] | None = None,
    generator: torch.Generator | None = None,
    approach_only: bool = False,
) -> Shaped[Tensor, "..."]:
    """g'_i = g_i + Σ dg_ij over accepted pairs: the collision of `kiti.collide` with x = w and v = g.

        g_r = |g_i - g_j|,  w_r = |w_i - w_j|,  dg_ij = (g_i + g_j)/2 + g_r n_ij/2 - g_i
        accepted  <=>  g_r exp(-w_r) / max(g_r) > 1 - coll_coef

    The sum of all gradients is conserved. Memory: parts of N x N matrices and the list of accepted pairs.

    Args:
        weight: (N, D), neurons are rows.
        grad: (N, D), its gradient.
        coll_coef: in [0, 1].
        directions: n_ij = -n_ji, (N, N, D), for exact tests; if None they are drawn, the same on every device.
        generator: source of the single seed that a call draws; None is torch's default CPU generator.
        approach_only: accept only pairs with (w_j - w_i)·(g_j - g_i) > 0, which the proof needs (A23).

    Returns:
        g', (N, D), in the dtype of `grad`; half precision is computed in float32. A row with a number that is not
        finite keeps its own gradient, and neither collides nor counts in max(g_r). On meta only the shape.

    Raises:
        ValueError: an argument is out of range; the message gives its value and what is allowed.

    Example:
        >>> import torch, kiti
        >>> weight, grad = torch.zeros(3, 4), torch.randn(3, 4)
        >>> collided = kiti.hard_collision(weight, grad, coll_coef=0.7)
        >>> torch.allclose(collided.sum(0), grad.sum(0), atol=1e-6)
        True
    """
    return hard_collision_and_pairs(
        weight, grad, coll_coef, directions=directions, generator=generator, approach_only=approach_only
    )[0]


@torch.no_grad()
def hard_collision_and_pairs(
    weight: Shaped[Tensor, "..."],
    grad: Shaped[Tensor, "..."],
    coll_coef: int | float,
    *,
    directions: Shaped[Tensor, "..."] | None = None,
    generator: torch.Generator | None = None,
    approach_only: bool = False,
    random_pairs: bool = False,
) -> tuple[Shaped[Tensor, "..."], int]:
    """`hard_collision`, and how many pairs were accepted; 0 on meta.

    `random_pairs`, a placebo: instead of those as many collide, drawn uniformly from all pairs, by the same seed.
    """
    _check_matrices(weight, grad)
    check_coll_coef(coll_coef)
    if directions is not None:
        n, d = grad.shape
        check_directions(directions, (n, n, d), grad.device)
    seed = int(draw_seed(generator)) if directions is None or random_pairs else 0
    how: dict[str, Any] = {"seed": seed, "approach_only": approach_only, "random_pairs": random_pairs}
    if grad.is_meta:
        return torch.empty_like(grad), 0
    with without_autocast(grad):
        finite = _finite_rows(weight, grad)[:, 0]
        if finite.all():
            return collide_velocities(weight, grad, coll_coef, directions=directions, **how)
        some = finite.nonzero()[:, 0]
        given = None if directions is None else directions[some][:, some]
        collided = grad.clone()
        collided[some], pairs = collide_velocities(weight[some], grad[some], coll_coef, directions=given, **how)
        return collided, pairs


def _finite_rows(weight: Float[Tensor, "N D"], grad: Float[Tensor, "N D"]) -> Bool[Tensor, "N 1"]:
    return (weight.isfinite() & grad.isfinite()).all(1, keepdim=True)


def _unit_rows(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Rows scaled to length one, so that their products are cosines; a row of zeros stays zero."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(length == 0, 0, rows / length)


def _labels(finite: Bool[Tensor, "N 1"], generator: torch.Generator) -> Int[Tensor, " N"]:
    """A permutation that moves only the finite rows; drawn on the CPU, so that it is the same on every device."""
    label = torch.arange(len(finite))
    some = finite[:, 0].cpu().nonzero()[:, 0]
    draw = torch.Generator().manual_seed(int(draw_seed(generator)))
    label[some] = some[torch.randperm(len(some), generator=draw)]
    return label.to(finite.device)


def check_soft_coef(coll_coef: int | float) -> None:
    if not (math.isfinite(coll_coef) and coll_coef >= 0):
        raise ValueError(f"coll_coef={coll_coef!r}: a finite number of at least 0 is needed, commonly at most 1/N")


def _check_matrices(weight: Tensor, grad: Tensor) -> None:
    check_alike(("weight", "grad"), weight, grad)
    if weight.dim() != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}: (N, D) is needed, neurons are rows")
