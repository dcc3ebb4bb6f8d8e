"""Theorem 3.2's formula against a derivative, and the signs its proof leaves open (A23)."""

import pytest
import torch

from kiti.ko import hard_collision, soft_collision
from kiti.neurons.condensation import weight_correlation
from kiti.neurons.theory.cosine_change import alignment_rate, cosine_rate

TRIALS = 50


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=draw(seed), dtype=torch.float64)


def test_the_rate_is_the_derivative():
    weight, step = normal(0, 6, 4), normal(1, 6, 4)

    def cosines(eta: torch.Tensor) -> torch.Tensor:
        moved = torch.nn.functional.normalize(weight - eta * step, dim=1)
        return moved @ moved.T

    derivative = torch.autograd.functional.jacobian(cosines, torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(cosine_rate(weight, step), derivative, rtol=1e-9, atol=1e-12)


def test_the_rate_of_the_correlation_matches_its_difference():
    weight, step, eta = normal(2, 8, 5), normal(3, 8, 5), 1e-6
    difference = (weight_correlation(weight - eta * step) - weight_correlation(weight + eta * step)) / (2 * eta)
    assert alignment_rate(weight, step).item() == pytest.approx(difference, rel=1e-5)


def test_it_distinguishes_gradients_from_collisions():
    weight, grad, change = normal(0, 5, 3), normal(1, 5, 3), normal(2, 5, 3)
    whole = cosine_rate(weight, grad + change)
    torch.testing.assert_close(whole, cosine_rate(weight, grad) + cosine_rate(weight, change))


def soft_rates(gradient_along_weight: float, alike: float) -> torch.Tensor:
    """What soft collision adds to the rate of |cos| of two neurons, over trials.

    The first number is how far their gradients align with the weights; the second, the sign of their cosine.
    """
    rates = []
    for trial in range(TRIALS):
        weight = 1 + 0.5 * normal(trial, 2, 20)
        weight[1] *= alike
        grad = gradient_along_weight * weight + 0.1 * normal(10_000 + trial, 2, 20)
        change = soft_collision(weight, grad, 0.1, include_self=False) - grad
        rates.append(alignment_rate(weight, change))
    return torch.stack(rates)


@pytest.mark.parametrize(("along", "alike", "parts"), [(-1, 1, True), (1, 1, False), (-1, -1, False), (1, -1, True)])
def test_soft_collision_separates_neurons_or_brings_them_together(along: float, alike: float, parts: bool) -> None:
    """Similar neurons separate where descent makes them grow, w·g < 0, and approach where it shrinks them. For
    opposite neurons the reverse holds: both cosines are negative and their product is not."""
    rates = soft_rates(along, alike)
    assert (rates < 0).all() if parts else (rates > 0).all()


def test_soft_collision_hardly_affects_neurons_with_unrelated_gradients():
    assert soft_rates(0.0, 1.0).abs().mean() < 0.1 * soft_rates(1.0, 1.0).mean()


def hard_rates(sign: float) -> torch.Tensor:
    """What one hard collision adds to the rate of a pair's initially positive cosine, over trials."""
    rates = []
    for trial in range(TRIALS):
        weight = 1 + 0.3 * normal(trial, 2, 6)
        grad = sign * (weight - weight.mean(0)) + 0.05 * normal(10_000 + trial, 2, 6)
        added = [hard_collision(weight, grad, 1.0, generator=draw(seed)) - grad for seed in range(20)]
        rates.append(torch.stack([cosine_rate(weight, one)[0, 1] for one in added]).mean())
    return torch.stack(rates)


def test_hard_collision_separates_approaching_neurons_and_attracts_separating_ones():
    """The proof needs (w_j − w_i)·(g_j − g_i) > 0, which equation 7 does not require."""
    assert (hard_rates(1.0) < 0).double().mean() > 0.9
    assert (hard_rates(-1.0) > 0).double().mean() > 0.9
