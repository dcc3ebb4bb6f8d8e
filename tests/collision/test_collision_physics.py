"""What every implementation conserves, moves and draws, for one pair and for many."""

import pytest
import torch
from collision_cases import every, every_compiled, features, run, unit_vectors

from kiti.collision.dispatch import collide, collide_with_statistics


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("n", "coef", "scale"), [(8, 0.0, 0.1), (8, 0.3, 20.0), (1, 1.0, 1.0)])
def test_without_accepted_pairs_it_is_the_plain_residual_bit_for_bit(implementation, dtype, n, coef, scale):
    x, v, weight = features(2, n * 3, scale=scale, dtype=dtype)
    for dt in (1.0, 0.3):
        out, partners, energy_ratio, grad_x, grad_v = run(
            x, v, weight, collision_heads=3, coll_coef=coef, dt=dt, implementation=implementation
        )
        assert torch.equal(out, torch.add(x, v, alpha=dt))
        assert (partners, energy_ratio) == (0, 1)
        assert torch.equal(grad_x, weight)
        torch.testing.assert_close(grad_v, weight * dt)


@every
@pytest.mark.parametrize("heads", [1, 2, 5])
def test_one_pair_conserves_momentum_energy_and_relative_speed(implementation, heads):
    systems = 5 if implementation == "triton" else 100
    x, v, _ = features(systems, 2 * heads, scale=0.01)
    out, statistics = collide_with_statistics(
        x, v, collision_heads=heads, coll_coef=0.9, position_update=False, implementation=implementation
    )
    assert statistics.partners == 1
    assert statistics.energy_ratio.item() == pytest.approx(1, abs=1e-12)
    before, after = v.view(systems, 2, heads), (out - x).view(systems, 2, heads)
    torch.testing.assert_close(after.sum(1), before.sum(1))
    torch.testing.assert_close(after.square().sum((1, 2)), before.square().sum((1, 2)))
    torch.testing.assert_close((after[:, 0] - after[:, 1]).norm(dim=1), (before[:, 0] - before[:, 1]).norm(dim=1))


@every
def test_one_pair_moves_to_its_mean_positions(implementation):
    """x*_i = (x_i + (x_i + x_j)/2)/2, a quarter of the way."""
    x, v, _ = features(2, 3, scale=0.01)
    out = collide(x.flatten(), 0 * v.flatten() + v[0, 0] * torch.tensor([1, 0, 0, 0, 0, 0]),
                  collision_heads=3, coll_coef=0.9, dt=0.0, implementation=implementation)  # fmt: skip
    torch.testing.assert_close(out.view(2, 3), torch.stack([0.75 * x[0] + 0.25 * x[1], 0.25 * x[0] + 0.75 * x[1]]))


@every
@pytest.mark.parametrize("coef", [0.7, 1.0])
def test_many_pairs_conserve_momentum(implementation, coef):
    x, v, _ = features(2, 48, scale=0.2)
    out, statistics = collide_with_statistics(
        x, v, collision_heads=4, coll_coef=coef, position_update=False, implementation=implementation
    )
    assert statistics.partners > 1
    assert statistics.energy_ratio > 1.5  # the literal sum adds energy (A7)
    torch.testing.assert_close((out - x).view(2, 12, 4).sum(1), v.view(2, 12, 4).sum(1))


@every
@pytest.mark.parametrize("coef", [0.7, 1.0])
def test_max_one_conserves_energy_too(implementation, coef):
    x, v, _ = features(2, 48, scale=0.2)
    out, statistics = collide_with_statistics(
        x, v, collision_heads=4, coll_coef=coef, reduction="max_one", position_update=False,
        implementation=implementation,
    )  # fmt: skip
    assert 0 < statistics.partners <= 1
    assert statistics.energy_ratio.item() == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close((out - x).square().sum(1), v.square().sum(1))


@every
def test_max_one_takes_at_most_one_partner_when_scores_tie(implementation):
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    x, v = torch.zeros(8, dtype=torch.float64), corners.flatten()
    settings = {"collision_heads": 2, "coll_coef": 1.0, "reduction": "max_one", "position_update": False}
    out, statistics = collide_with_statistics(
        x, v, directions=unit_vectors(n=4, heads=2), implementation=implementation, **settings
    )
    assert statistics.partners == 1  # both diagonals tie
    torch.testing.assert_close(out.square().sum(), v.square().sum())


@every
def test_coefficient_one_accepts_every_moving_pair(implementation):
    x, v, _ = features(3, 24)
    v = v.view(3, 8, 3)
    v[:, 1] = v[:, 0]  # at rest relative to each other: 27 of 28 pairs
    partners = collide_with_statistics(
        x, v.reshape(3, 24), collision_heads=3, coll_coef=1, implementation=implementation
    )[1].partners
    assert partners.item() == pytest.approx(2 * 27 / 8)


@every
def test_one_dimension_swaps_or_does_nothing(implementation):
    systems = 30 if implementation == "triton" else 200
    x, v, _ = features(systems, 2, scale=0.01)
    torch.manual_seed(0)
    after = collide(
        x, v, collision_heads=1, coll_coef=0.9, position_update=False, implementation=implementation
    ) - x  # fmt: skip
    kept = torch.isclose(after, v).all(1)
    swapped = torch.isclose(after, v.flip(1)).all(1)
    assert torch.all(kept | swapped)
    assert 0.3 * systems < kept.sum() < 0.7 * systems


@every_compiled
@pytest.mark.parametrize("n", [2, 12])
def test_directions_are_isotropic_and_independent(implementation, n):
    """With x* = x and dt = 1, a particle's mean kick is Σ (v_j - v_i)/2 and the rest is noise of known size."""
    heads, systems = 3, 4000
    _, v, _ = features(n, heads)
    v_all = v.expand(systems, n, heads)
    x = torch.zeros(systems, n * heads, dtype=v.dtype)
    out = collide(x, v_all.reshape(systems, -1), collision_heads=heads, coll_coef=1.0, position_update=False,
                  implementation=implementation)  # fmt: skip
    apart = v[None] - v[:, None]
    noise = out.view(systems, n, heads) - v - apart.sum(1) / 2
    variance = apart.square().sum((1, 2)) / 4 / heads  # of each component: Σ_j V_r² / (4 heads)
    error = (variance / systems).sqrt()[:, None]
    assert (noise.mean(0).abs() < 5 * error).all()
    covariance = torch.einsum("sih,sig->ihg", noise, noise) / systems
    torch.testing.assert_close(
        covariance / variance[:, None, None], torch.eye(heads, dtype=v.dtype).expand(n, -1, -1), rtol=0, atol=0.12
    )
    assert len(noise[:, 0, 0].unique()) == systems  # no draw repeats across systems


@every
def test_batch_maximum_comes_from_the_fastest_system(implementation):
    x, v, _ = features(2, 16, scale=0.1)
    v = torch.stack([v[0], 1e3 * v[1]])
    settings = {"collision_heads": 2, "coll_coef": 0.9, "implementation": implementation}
    assert torch.equal(collide(x, v, max_over="batch", **settings)[0], (x + v)[0])
    assert not torch.equal(collide(x, v, max_over="system", **settings)[0], (x + v)[0])


@every
def test_energy_ratio_matches_the_velocities(implementation):
    x, v, _ = features(3, 32, scale=0.2)
    settings = {"collision_heads": 2, "coll_coef": 0.8, "position_update": False, "implementation": implementation}
    out, statistics = collide_with_statistics(x, v, dt=0.5, **settings)
    expected = ((out - x) / 0.5).square().sum() / v.square().sum()
    torch.testing.assert_close(statistics.energy_ratio, expected)
    assert not statistics.energy_ratio.requires_grad
    assert collide_with_statistics(x, 0 * v, **settings)[1].energy_ratio == 1
