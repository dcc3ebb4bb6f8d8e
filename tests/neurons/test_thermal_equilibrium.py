"""Appendix J's process against its equations and its lemmas."""

import itertools

import pytest
import torch

from kiti.neurons.theory.thermal_equilibrium import Networks, networks, process

ETA = 0.05


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_step_matches_equations_30_to_32():
    """Neuron by neuron and sample by sample, computed from the inputs."""
    x = torch.randn(7, 3, generator=draw(1), dtype=torch.float64)
    start = networks(1, 4, 3, ETA, generator=draw())
    start = Networks(start.outer, start.inner, start.target, (x.T @ x / 7)[None])
    _, after = process(start, ETA, 1, draw(2))
    a, w, k = start.outer[0], start.inner[0], start.target[0]
    for i in range(4):
        total = sum((a @ w @ x[j] - k @ x[j]) * x[j] for j in range(7))
        torch.testing.assert_close(after.inner[0, i], w[i] - ETA * a[i] * total / 7)
        kick = after.outer[0, i] - a[i]
        assert kick == -a[i] if a[i] != 0 else abs(kick) == pytest.approx(ETA**0.25)


def test_the_law_of_the_outer_weights_is_stationary():
    """(¼, ½, ¼) at every step, hence |a|² = m √η / 2 (34), and a(t+1) · a(t) = 0 neuron by neuron."""
    states = list(process(networks(2000, 50, 2, ETA, generator=draw()), ETA, 5, draw(1)))
    for state in states:
        level = state.outer / ETA**0.25
        for value, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            assert (level.round() == value).double().mean().item() == pytest.approx(share, abs=0.006)  # 4.4 sigma
        squares = state.outer.square().sum(1).mean().item()
        assert squares == pytest.approx(50 * ETA**0.5 / 2, rel=0.02)
    for now, then in itertools.pairwise(states):
        assert (now.outer * then.outer == 0).all()


def test_kicks_are_correlated_at_lag_one_only():
    """E[δ(t) δ(t+k)] = −√η/2 at k = 1, 0 beyond (49)."""
    states = list(process(networks(4000, 50, 1, ETA, generator=draw()), ETA, 5, draw(1)))
    kicks = [then.outer - now.outer for now, then in itertools.pairwise(states)]
    for lag, expected in ((1, -0.5), (2, 0.0), (3, 0.0)):
        measured = (kicks[0] * kicks[lag]).mean().item() / ETA**0.5
        assert measured == pytest.approx(expected, abs=0.01)  # 5 sigma


def test_the_network_output_is_forgotten_at_once():
    """(35) holds because both sides are 0: the signs of a are redrawn, so from a given θ(0) ≠ 0 the mean of
    θ(t) is 0 from t = 1 on, not θ(0)."""
    one = networks(1, 40, 2, ETA, generator=draw(5))
    many = Networks(*(part.repeat(20000, *[1] * (part.dim() - 1)) for part in vars(one).values()))
    assert one.theta.norm() > 0.5
    states = list(process(many, ETA, 4, draw(1)))
    for state in states[1:]:
        error = state.theta.std(0) / 20000**0.5
        assert (state.theta.mean(0).abs() < 4.5 * error).all()
    everyone = networks(20000, 40, 2, ETA, generator=draw(6))
    error = everyone.theta.std(0) / 20000**0.5
    assert (everyone.theta.mean(0).abs() < 4.5 * error).all(), "E[θ(0)] is 0 too, over the initial values of (33)"


def test_a_neuron_starts_with_length_one():
    state = networks(200, 100, 5, ETA, samples=50, generator=draw())
    assert state.mean_square.mean().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(state.target.norm(dim=1), torch.ones(200).double())
    assert state.covariance.diagonal(dim1=1, dim2=2).mean().item() == pytest.approx(1, abs=0.03)
