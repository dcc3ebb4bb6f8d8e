"""Shared by the collision tests: implementations, features, directions, a call with its gradients."""

import pytest
import torch

from kiti.collision.dispatch import collide_with_statistics

# Triton's interpreter takes a second for what a GPU does in microseconds: only few, small systems here, and
# separate tests in test_triton*.py.
every = pytest.mark.parametrize("implementation", ["literal", "numba", pytest.param("triton", marks=pytest.mark.slow)])
every_compiled = pytest.mark.parametrize("implementation", ["literal", "numba"])


def features(*shape, scale=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, v, weight = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return (scale * x).to(dtype), v.to(dtype), weight.to(dtype)


def unit_vectors(*systems, n, heads, dtype=torch.float64, seed=1):
    """Random n_ij = -n_ji."""
    z = torch.randn(*systems, n, n, heads, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = z / z.norm(dim=-1, keepdim=True) * torch.ones(n, n, dtype=torch.float64).triu(1)[..., None]
    return (z - z.transpose(-2, -3)).to(dtype)


def run(x, v, weight=None, **settings):
    """x', the statistics and, given weights for x', the gradients of x and v."""
    x, v = x.detach().clone().requires_grad_(), v.detach().clone().requires_grad_()
    out, statistics = collide_with_statistics(x, v, **settings)
    gradients = torch.autograd.grad(out, (x, v), torch.ones_like(out) if weight is None else weight)
    return out.detach(), *statistics, *gradients
