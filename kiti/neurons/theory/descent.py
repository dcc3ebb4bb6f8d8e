"""KO's Theorem 3.3 on quadratics: whether descent with collisions still reaches small gradients.

    L(W) = ½ Σ_i (w_i − w*_i)ᵀ H (w_i − w*_i),   W ← W − η (g + δ)                        (16)

H has eigenvalues from `least` to 1, so that L is 1-smooth. The theorem assumes E[δ] = 0 and E|δ|² ≤ σ² for hard
collisions and |δ| ≤ D for soft ones, and states that the mean of |g|² over the steps falls below any ε for a small
enough constant η.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

Collision = Callable[[Tensor, Tensor], Tensor]
"""(weight, grad) -> g + δ, like `soft_collision` and `hard_collision`."""


@dataclass(frozen=True)
class Descent:
    """|g|², |δ|² and the loss L before each step; the loss also after the last one."""

    gradient: Float64[Tensor, " T"]
    collision: Float64[Tensor, " T"]
    loss: Float64[Tensor, " T+1"]


def quadratic(d: int, least: float) -> Float64[Tensor, "d d"]:
    """A diagonal H with logarithmically spaced eigenvalues from `least` to 1."""
    return torch.diag(torch.logspace(torch.tensor(least).log10().item(), 0, d, dtype=torch.float64))


def descend(
    start: Float64[Tensor, "N d"],
    optimum: Float64[Tensor, "N d"],
    curvature: Float64[Tensor, "d d"],
    eta: float,
    steps: int,
    collide: Collision,
) -> Descent:
    """Descend along g + δ with constant η."""
    weight = start.clone()
    gradients, collisions, losses = [], [], []

    def loss() -> Tensor:
        away = weight - optimum
        return 0.5 * ((away @ curvature) * away).sum()

    for _ in range(steps):
        grad = (weight - optimum) @ curvature
        collided = collide(weight, grad)
        gradients.append(grad.square().sum())
        collisions.append((collided - grad).square().sum())
        losses.append(loss())
        weight = weight - eta * collided
    return Descent(torch.stack(gradients), torch.stack(collisions), torch.stack([*losses, loss()]))


def promised(descent: Descent, eta: float) -> float:
    """The right side of (19), 2/(ηT) (L(θ_0) − L(θ_T)) + η σ², with σ² the largest |δ|² seen; L is 1-smooth."""
    steps = len(descent.gradient)
    gained = descent.loss[0] - descent.loss[-1]
    return float(2 * gained / (eta * steps) + eta * descent.collision.max())
