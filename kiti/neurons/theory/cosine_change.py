"""KO's Theorem 3.2: how gradients and collisions change the cosines between neurons in one step.

To first order in the learning rate η, w_i' = w_i − η (g_i + Δ_i) changes C_ij = cos(w_i, w_j) by η times

    [ w_i·w_j (w_i·s_i / |w_i|² + w_j·s_j / |w_j|²) − w_i·s_j − s_i·w_j ] / (|w_i| |w_j|),   s = g + Δ            (11)

which is linear in s, so the effects of gradients and collisions can be separated.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def cosine_rate(weight: Float[Tensor, "N D"], step: Float[Tensor, "N D"]) -> Float[Tensor, "N N"]:
    """d cos(w_i, w_j) / dη along w − η `step`, (11), for every pair; neurons are rows and must not be zero."""
    norms = weight.norm(dim=1)
    along = (weight * step).sum(1) / norms.square()  # w_i·s_i / |w_i|²
    crossed = weight @ step.T
    cosines = weight @ weight.T / torch.outer(norms, norms)
    return cosines * (along[:, None] + along) - (crossed + crossed.T) / torch.outer(norms, norms)


def alignment_rate(weight: Float[Tensor, "N D"], step: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
    """d ρ / dη along w − η `step`: ρ is the mean |cos| over pairs i ≠ j, which Theorem 3.2 says collisions lower."""
    n = len(weight)
    unit = weight / weight.norm(dim=1, keepdim=True)
    signed = torch.sign(unit @ unit.T) * cosine_rate(weight, step)
    return (signed.sum() - signed.diagonal().sum()) / (n * (n - 1))
