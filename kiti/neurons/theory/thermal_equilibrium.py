"""Simulates KITINet's Appendix J: a linear network y = aᵀWx whose outer weights a get a random kick at every step.

    w_i(t+1) = w_i(t) − η a_i(t) (1/n) Σ_j (a(t)ᵀW(t) x_j − y_j) x_j                               (30)
    a_i(t+1) = a_i(t) + δ_i(t)                                                                    (31)
    δ_i(t)   = −a_i(t) where a_i(t) ≠ 0, else ±η^¼, each with probability ½                       (32)
    a_i(0)   = ±η^¼ with probability ¼ each, else 0                                               (33)

The appendix cites an "algorithm 2" that is not printed; these equations are presumably what it contains.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass
class Networks:
    """Many independent networks at one step of the process, in float64.

    outer: a(t). inner: W(t), with neurons w_i as rows. target: k, the true weights. covariance: (1/n) Σ x xᵀ.
    """

    outer: Float64[Tensor, "R m"]
    inner: Float64[Tensor, "R m d"]
    target: Float64[Tensor, "R d"]
    covariance: Float64[Tensor, "R d d"]

    @property
    def theta(self) -> Float64[Tensor, "R d"]:
        """θ(t) = a(t)ᵀ W(t): the linear map of the network."""
        return torch.einsum("rm,rmd->rd", self.outer, self.inner)

    @property
    def mean_square(self) -> Float64[Tensor, " R"]:
        """(1/m) Σ_i |w_i|²."""
        return self.inner.square().sum((1, 2)) / self.inner.shape[1]


def networks(
    trajectories: int, m: int, d: int, eta: float, *, samples: int | None = None, generator: torch.Generator
) -> Networks:
    """Networks at t = 0: w_i ~ N(0, I/d), so that (1/m) Σ|w_i|² is 1 on average; a by (33); k of length 1.

    Each has `samples` training inputs x ~ N(0, I); None is the limit where (1/n) Σ x xᵀ is the identity.
    """
    inner = _normal((trajectories, m, d), generator) / d**0.5
    target = torch.nn.functional.normalize(_normal((trajectories, d), generator), dim=1)
    covariance = torch.eye(d, dtype=torch.float64).repeat(trajectories, 1, 1)
    if samples is not None:
        x = _normal((trajectories, samples, d), generator)
        covariance = x.mT @ x / samples
    excited = torch.rand((trajectories, m), generator=generator, dtype=torch.float64) < 0.5
    outer = torch.where(excited, _signs((trajectories, m), generator) * eta**0.25, 0.0)
    return Networks(outer, inner, target, covariance)


def process(start: Networks, eta: float, steps: int, generator: torch.Generator) -> Iterator[Networks]:
    """The networks at t = 0, 1, …, `steps`; the yielded values are never modified afterwards."""
    now = start
    yield now
    for _ in range(steps):
        gradient = torch.einsum("rd,rde->re", now.theta - now.target, now.covariance)  # of the loss by θ
        inner = now.inner - eta * now.outer.unsqueeze(2) * gradient.unsqueeze(1)
        resting = now.outer == 0
        outer = torch.where(resting, _signs(now.outer.shape, generator) * eta**0.25, 0.0)
        now = Networks(outer, inner, now.target, now.covariance)
        yield now


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _signs(shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randint(2, shape, generator=generator).double() * 2 - 1
