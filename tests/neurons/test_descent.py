"""Theorem 3.3's correct parts as tests, and counterexamples to the rest (A24)."""

import pytest
import torch

from kiti.ko import hard_collision, soft_collision
from kiti.neurons.theory.descent import descend, promised, quadratic

N, D, ETA, STEPS = 10, 4, 0.1, 2000


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(collide, start=None, optimum=None, eta=ETA, steps=STEPS):
    start = normal(0, N, D) if start is None else start
    optimum = normal(1, N, D) if optimum is None else optimum
    return descend(start, optimum, quadratic(D, 0.1), eta, steps, collide)


def test_a_step_matches_gradient_descent():
    start, optimum, curvature = normal(0, N, D), normal(1, N, D), quadratic(D, 0.1)
    weight = start.clone().requires_grad_()
    loss = 0.5 * torch.einsum("nd,de,ne->", weight - optimum, curvature, weight - optimum)
    loss.backward()
    found = descend(start, optimum, curvature, ETA, 1, lambda w, g: g + 1)
    assert found.loss[0] == pytest.approx(loss.item())
    assert found.gradient[0] == pytest.approx(weight.grad.square().sum().item())
    assert found.collision[0] == pytest.approx(N * D)
    moved = start - ETA * (weight.grad + 1)
    after = 0.5 * torch.einsum("nd,de,ne->", moved - optimum, curvature, moved - optimum)
    assert found.loss[1] == pytest.approx(after.item())


def test_without_collisions_the_bound_holds():
    plain = run(lambda w, g: g)
    assert plain.gradient.mean() <= promised(plain, ETA)
    assert plain.gradient[-1] < 1e-6 * plain.gradient[0]


def test_noise_without_bias_stays_within_the_bound():
    draw = torch.Generator().manual_seed(2)
    noisy = run(lambda w, g: g + 0.1 * torch.randn(g.shape, generator=draw, dtype=torch.float64))
    assert noisy.gradient.mean() <= promised(noisy, ETA)


def test_a_bounded_but_biased_push_keeps_the_gradient_from_vanishing():
    """The theorem requires only |δ| ≤ D of soft collisions; δ = D u for fixed u stops where g = −D u, for any η."""
    for eta in (0.1, 0.01):
        pushed = run(lambda w, g: g + 0.3, eta=eta, steps=int(400 / eta))
        assert pushed.gradient[-1] == pytest.approx(0.3**2 * N * D, rel=1e-6)


def test_hard_collisions_do_not_change_the_mean():
    """E[δ] = 0 fails for single neurons, (g_j − g_i)/2 in a pair; only the sum over neurons is zero."""
    weight, grad = 0.1 * normal(3, 2, D), normal(4, 2, D)
    draw = torch.Generator().manual_seed(0)
    added = torch.stack([hard_collision(weight, grad, 1.0, generator=draw) - grad for _ in range(1000)])
    torch.testing.assert_close(added.sum(1), torch.zeros(1000, D, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(added.mean(0)[0], (grad[1] - grad[0]) / 2, atol=0.15, rtol=0)


def test_soft_collisions_of_equal_neurons_ascend_above_one_over_n():
    """N neurons with equal weights and gradients: g' = (1 − c N) g, descent for c < 1/N, none at 1/N, ascent above."""
    one, far = normal(5, 1, D).abs() + 1, 3 * normal(5, 1, D).abs() + 5
    start, optimum = one.repeat(N, 1), far.repeat(N, 1)
    ends = []
    for times_n in (0.5, 1.0, 1.5):
        soft = run(lambda w, g, c=times_n / N: soft_collision(w, g, c), start, optimum, steps=50)
        ends.append((soft.loss[-1] / soft.loss[0]).item())
    assert ends[0] < 0.6
    assert ends[1] == pytest.approx(1.0, abs=1e-9)
    assert ends[2] > 1.5
