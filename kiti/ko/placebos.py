"""Placebos of KO: what else may be done to the gradient of one matrix, as much of it as the collision does.

The third, pairs at random, is the collision itself with other partners: see `gradient_collisions.py`.
"""

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from kiti.collision.draws import normal
from kiti.collision.particles import accumulation_dtype

PLACEBOS = ("noise", "random_pairs", "scale")


@torch.no_grad()
def noise_for(
    grad: Shaped[Tensor, "N D"], collided: Shaped[Tensor, "N D"], generator: torch.Generator | None
) -> Shaped[Tensor, "N D"]:
    """g_i + |g'_i - g_i| z_i / |z_i| with z standard normal: a change as long as the collision's, row by row.

    So it touches the rows that the collision touches, and its norm over the matrix is the same too.

    Args:
        grad: g, (N, D), neurons are rows.
        collided: g', (N, D), what the collision makes of it.
        generator: source of the single seed of z, on the CPU; None is torch's default generator.

    Returns:
        (N, D) in the dtype of `grad`. A row with a number that is not finite stays. On meta only the shape.
    """
    if grad.is_meta:
        return torch.empty_like(grad)
    dtype = accumulation_dtype(grad.dtype)
    g = grad.to(dtype)
    length = torch.linalg.vector_norm(_change(g, collided.to(dtype)), dim=1, keepdim=True)
    z = normal(g, generator)
    unit = z / torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
    return (g + length * unit).to(grad.dtype)


@torch.no_grad()
def scaled_as(grad: Shaped[Tensor, "N D"], collided: Shaped[Tensor, "N D"]) -> Shaped[Tensor, "N D"]:
    """s g with s = |g'| / |g| over the whole matrix, 1 if g is zero: only the length of the collision's gradient.

    (N, D) in the dtype of `grad`. Rows with a number that is not finite stay, and do not count in the norms.
    """
    dtype = accumulation_dtype(grad.dtype)
    g = grad.to(dtype)
    finite = _finite_rows(g)
    before, after = (torch.linalg.vector_norm(torch.where(finite, each, 0)) for each in (g, collided.to(dtype)))
    scale = torch.where(before == 0, 1, after / before)
    return torch.where(finite, scale * g, g).to(grad.dtype)


def _change(g: Tensor, collided: Tensor) -> Tensor:
    return torch.where(_finite_rows(g), collided - g, 0)


def _finite_rows(g: Tensor) -> Bool[Tensor, "N 1"]:
    return g.isfinite().all(1, keepdim=True)
