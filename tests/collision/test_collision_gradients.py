"""Gradients of the collision, and the directions that forward and backward share."""

import pytest
import torch
from collision_cases import every, features, unit_vectors
from torch.utils.checkpoint import checkpoint

from kiti.collision.dispatch import collide


@every
@pytest.mark.parametrize("coef", [0.5, 1.0])
@pytest.mark.parametrize("settings", [{}, {"reduction": "mean"}, {"position_update": False}, {"layout": "strided"}])
def test_gradcheck(implementation, coef, settings):
    systems, n = (1, 3) if implementation == "triton" else (2, 6)
    x, v, _ = features(systems, 2 * n, scale=0.4)
    directions = unit_vectors(systems, n=n, heads=2)

    def f(x, v):
        return collide(
            x, v, collision_heads=2, coll_coef=coef, directions=directions, implementation=implementation, **settings
        )

    assert torch.autograd.gradcheck(f, (x.requires_grad_(), v.requires_grad_()))


@every
@pytest.mark.parametrize("coef", [0.6, 1.0])
def test_backward_uses_the_directions_of_the_forward(implementation, coef):
    x, v, weight = features(2, 6, scale=0.4)

    def loss(x, v):
        generator = torch.Generator().manual_seed(5)
        out = collide(x, v, collision_heads=2, coll_coef=coef, generator=generator, implementation=implementation)
        return (out * weight).sum()

    grad = torch.autograd.grad(loss(x.requires_grad_(), v.requires_grad_()), v)[0]
    with torch.no_grad():
        step = 1e-6
        for index in range(6):
            e = torch.zeros_like(v)
            e[1, index] = step
            slope = (loss(x, v + e) - loss(x, v - e)) / (2 * step)
            assert slope == pytest.approx(grad[1, index].item(), abs=1e-7)


@every
def test_one_seed_per_call(implementation):
    x, v, _ = features(2, 12, scale=0.2)
    settings = {"collision_heads": 2, "coll_coef": 0.8, "implementation": implementation}
    torch.manual_seed(0)
    first, second = collide(x, v, **settings), collide(x, v, **settings)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(collide(x, v, **settings), first)
    after = torch.random.get_rng_state()
    torch.manual_seed(0)
    torch.randint(2**63 - 1, ())
    assert torch.equal(torch.random.get_rng_state(), after)
    collide(x, v, generator=torch.Generator().manual_seed(0), **settings)
    assert torch.equal(torch.random.get_rng_state(), after)


@every
@pytest.mark.parametrize("coef", [0.6, 1.0])
def test_activation_checkpointing_repeats_the_collision(implementation, coef):
    x, v, weight = features(2, 12, scale=0.3)

    def block(x, v):
        return collide(x.sin(), v.cos(), collision_heads=2, coll_coef=coef, implementation=implementation)

    results = []
    for call in (block, lambda x, v: checkpoint(block, x, v, use_reentrant=False)):
        torch.manual_seed(7)
        a, b = x.clone().requires_grad_(), v.clone().requires_grad_()
        out = call(a, b)
        (out * weight).sum().backward()
        results.append((out.detach(), a.grad, b.grad))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
