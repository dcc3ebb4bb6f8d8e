"""Placebos of the collision of features: by their definitions, in loops, and each different in one thing only."""

import math

import pytest
import torch
from collision_cases import every, every_compiled, features, run, unit_vectors
from random_pair_cases import plain_couples, plain_pairs
from torch import Tensor

from kiti.collision.directions import draw_seed
from kiti.collision.dispatch import collide, collide_with_partners
from kiti.collision.literal import collide_literal
from kiti.collision.rules import Rules
from kiti.residual import KITIResidual, MatchedNoise

SETTINGS = {"collision_heads": 2, "coll_coef": 0.8}


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seed_of(seed: int = 3) -> int:
    """What a collision draws from `seeded`."""
    return int(draw_seed(seeded(seed)))


def accepted_of(x, v, coef, reduction):
    """The pairs i < j that equation 4 accepts in one system, and for `max_one` those that choose each other."""
    n = len(x)
    fast = max(math.dist(a, b) for a in v for b in v)
    score = {
        (i, j): math.dist(v[i], v[j]) * math.exp(-math.dist(x[i], x[j])) / fast for i in range(n) for j in range(n)
    }
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if score[i, j] > 1 - coef]
    if reduction != "max_one":
        return pairs
    best = {i: max((p for p in pairs if i in p), key=lambda p: score[p], default=None) for i in range(len(x))}
    return [(i, j) for i, j in pairs if best[i] == best[j] == (i, j)]


def by_loops(x, v, n, coef, dt, reduction, update, pairing, terms, seed, system):
    """One system of particles (N, heads) in plain numbers: Algorithm 1 with the pairs and the terms of a placebo."""
    size, heads = x.shape
    x, v, n = x.tolist(), v.tolist(), n.tolist()
    pairs = accepted_of(x, v, coef, reduction)
    if pairing == "random":
        drawn = (
            plain_couples(seed, system, size) if reduction == "max_one" else plain_pairs(seed, system, size, len(pairs))
        )
        pairs = drawn[: len(pairs)]
    out = []
    for i in range(size):
        partners = [a + b - i for a, b in pairs if i in (a, b)]
        for h in range(heads):
            parts = {
                "means": [(v[j][h] - v[i][h]) / 2 for j in partners],
                "kicks": [math.dist(v[i], v[j]) * n[i][j][h] / 2 for j in partners],
            }
            kick = sum(sum(part) for name, part in parts.items() if terms in ("both", name))
            velocity = v[i][h] + kick / (max(1, len(partners)) if reduction == "mean" else 1)
            middles = [(x[i][h] + x[j][h]) / 2 for j in partners]
            position = (x[i][h] + sum(middles)) / (1 + len(partners)) if update else x[i][h]
            out.append(position + dt * velocity)
    return torch.tensor(out, dtype=torch.float64), len(pairs)


@every
@pytest.mark.parametrize(
    ("pairing", "terms", "reduction", "update"),
    [
        ("random", "both", "sum", True),
        ("random", "both", "mean", False),
        ("random", "both", "max_one", True),
        ("accepted", "means", "sum", True),
        ("accepted", "kicks", "sum", False),
        ("accepted", "kicks", "mean", True),
        ("random", "means", "sum", True),
    ],
)
def test_equals_plain_loops(implementation, pairing, terms, reduction, update):
    n, heads, systems = 5, 2, 3
    x, v, _ = features(systems, n * heads, scale=0.3)
    directions = unit_vectors(systems, n=n, heads=heads)
    settings = {
        **SETTINGS, "dt": 0.7, "reduction": reduction, "position_update": update, "pairing": pairing, "terms": terms,
    }  # fmt: skip
    expected = [
        by_loops(x[s].view(n, heads), v[s].view(n, heads), directions[s], 0.8, 0.7, reduction, update, pairing, terms,
                 seed_of(), s)
        for s in range(systems)
    ]  # fmt: skip
    moved, partners, _ = collide_with_partners(
        x, v, directions=directions, generator=seeded(), implementation=implementation, **settings
    )
    torch.testing.assert_close(moved, torch.stack([one for one, _ in expected]), rtol=1e-12, atol=1e-12)
    assert partners.sum(1).tolist() == [2 * pairs for _, pairs in expected]
    assert min(pairs for _, pairs in expected) > 0


PLACEBOS = [("random", "both", "system"), ("random", "kicks", "batch"), ("accepted", "means", "system")]
# No pair, some pairs, more than a particle each, all pairs accepted.
REGIMES = {"none": (8.0, 0.3), "some": (0.7, 0.6), "most": (0.2, 0.97), "all": (0.1, 1.0)}


@pytest.mark.parametrize("reduction", ["sum", "mean", "max_one"])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("heads", "n"), [(1, 34), (2, 16), (8, 7), (8, 1), (2, 100)])
def test_numba_equals_literal(heads, n, regime, reduction):
    scale, coef = REGIMES[regime]
    x, v, weight = features(2, n * heads, scale=scale)
    for pairing, terms, over in [
        ("random", "both", "system"),
        ("random", "kicks", "batch"),
        ("accepted", "means", "system"),
    ]:
        settings = {
            "collision_heads": heads, "coll_coef": coef, "dt": 0.8, "layout": "strided", "reduction": reduction,
            "max_over": over, "pairing": pairing, "terms": terms, "directions": unit_vectors(2, n=n, heads=heads),
        }  # fmt: skip
        literal, numba = (
            run(x, v, weight, implementation=name, generator=seeded(), **settings) for name in ("literal", "numba")
        )
        torch.testing.assert_close(numba, literal, rtol=1e-10, atol=1e-10)


@every_compiled
@pytest.mark.parametrize("reduction", ["sum", "mean", "max_one"])
@pytest.mark.parametrize("over", ["system", "batch"])
def test_random_pairs_are_as_many_and_others(implementation, reduction, over):
    x, v, _ = features(6, 40, scale=0.4)
    settings = {**SETTINGS, "reduction": reduction, "max_over": over, "implementation": implementation}
    (_, true, _), (_, drawn, _) = (
        collide_with_partners(x, v, generator=seeded(), pairing=pairing, **settings)
        for pairing in ("accepted", "random")
    )
    assert torch.equal(true.sum(1), drawn.sum(1))
    assert true.sum() > 0
    assert not torch.equal(true, drawn)
    assert reduction != "max_one" or drawn.max() == 1


@pytest.mark.parametrize("implementation", ["literal", "numba"])
def test_all_pairs_at_random_are_all_pairs(implementation):
    x, v, _ = features(2, 24, scale=0.1)
    settings = {"collision_heads": 2, "coll_coef": 1.0, "implementation": implementation}
    true, drawn = (collide(x, v, generator=seeded(), pairing=pairing, **settings) for pairing in ("accepted", "random"))
    torch.testing.assert_close(drawn, true, rtol=1e-12, atol=1e-12)


@every
def test_pairs_at_random_keep_the_directions_of_accepted_ones(implementation):
    """One seed a call, whatever the placebo: streams stay aligned, so that comparisons are paired."""
    x, v, _ = features(1, 12, scale=0.1)
    for other in ({"pairing": "random"}, {"terms": "means"}, {"terms": "kicks"}):
        generator, reference = seeded(), seeded()
        collide(x, v, generator=generator, implementation=implementation, **SETTINGS, **other)
        draw_seed(reference)
        assert torch.equal(generator.get_state(), reference.get_state())


@every_compiled
@pytest.mark.parametrize("reduction", ["sum", "mean", "max_one"])
@pytest.mark.parametrize("pairing", ["accepted", "random"])
def test_means_and_kicks_add_up_to_the_collision(implementation, reduction, pairing):
    x, v, _ = features(2, 12, scale=0.3)
    settings = {**SETTINGS, "dt": 0.7, "reduction": reduction, "pairing": pairing, "implementation": implementation}

    def change(**terms):
        return collide(x, v, generator=seeded(), **settings, **terms) - torch.add(x, v, alpha=0.7)

    means, kicks = change(terms="means"), change(terms="kicks", position_update=False)
    torch.testing.assert_close(means + kicks, change(), rtol=1e-12, atol=1e-12)
    for one in (means, kicks):
        assert one.abs().max() > 0.1


def test_means_only_is_smooth_and_kicks_only_has_no_preferred_direction():
    x, v, _ = features(400, 64)
    drift = x + v
    means, kicks = (
        collide(x, v, collision_heads=2, coll_coef=0.6, generator=seeded(), **terms) - drift
        for terms in ({"terms": "means"}, {"terms": "kicks", "position_update": False})
    )
    assert torch.equal(
        means, collide(x, v, collision_heads=2, coll_coef=0.6, terms="means", generator=seeded(9)) - drift
    )
    assert (means * v).sum() / means.square().sum() < -0.1
    assert abs((kicks * v).sum() / kicks.square().sum()) < 0.02
    momentum = kicks.view(400, 32, 2).sum(1)
    torch.testing.assert_close(momentum, torch.zeros_like(momentum), rtol=0, atol=1e-10)


@every
@pytest.mark.parametrize("coef", [0.5, 1.0])
@pytest.mark.parametrize("settings", [{"pairing": "random"}, {"terms": "means"}, {"terms": "kicks"}])
def test_gradcheck(implementation, coef, settings):
    systems, n = (1, 3) if implementation == "triton" else (2, 6)
    x, v, _ = features(systems, 2 * n, scale=0.4)
    directions = unit_vectors(systems, n=n, heads=2)

    def f(x, v):
        return collide(
            x, v, collision_heads=2, coll_coef=coef, directions=directions, generator=seeded(),
            implementation=implementation, **settings,
        )  # fmt: skip

    assert torch.autograd.gradcheck(f, (x.requires_grad_(), v.requires_grad_()))


@every_compiled
def test_each_sample_of_vmap_is_a_call(implementation):
    x, v, _ = features(3, 2, 12, scale=0.3)

    def f(x, v):
        return collide(x, v, pairing="random", implementation=implementation, **SETTINGS)

    torch.manual_seed(0)
    together = torch.vmap(f, randomness="same")(x, v)
    for sample in range(3):
        torch.manual_seed(0)
        torch.testing.assert_close(together[sample], f(x[sample], v[sample]), rtol=1e-12, atol=1e-12)
    apart = torch.vmap(f, randomness="different")(x[:1].expand(2, 2, 12), v[:1].expand(2, 2, 12))
    assert not torch.equal(*apart)


def test_a_compiled_graph_knows_the_shapes():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        for implementation in ("literal", "numba"):
            x = torch.empty(3, 5, 12)
            moved, partners, _ = collide_with_partners(
                x, x, Rules(2, 0.8, pairing="random", implementation=implementation)
            )
            assert (moved.shape, partners.shape, partners.dtype) == ((3, 5, 12), (3, 5, 6), torch.int32)


def noisy(seed: int = 0, **settings) -> MatchedNoise:
    residual = MatchedNoise(2, 0.6, **settings)
    residual.draws.restart(seed)
    return residual


def kiti(seed: int = 0, **settings) -> KITIResidual:
    residual = KITIResidual(2, 0.6, **settings)
    residual.draws.restart(seed)
    return residual


def touched_by(x: Tensor, v: Tensor, layout: str = "contiguous") -> Tensor:
    """The features of particles with a partner, as Algorithm 1 has it."""
    partners = collide_literal(x, v, Rules(2, 0.6, layout=layout), None, torch.tensor(0))[1] > 0
    return partners.repeat_interleave(2, -1) if layout == "contiguous" else torch.cat([partners, partners], -1)


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_sparse_noise_is_where_collisions_would_be(detach, layout, axis):
    x, v, _ = features(5, 7, 32, scale=0.8)
    touched = touched_by(x, v, layout)
    assert 0 < touched.sum() < touched.numel()
    x, v, touched = (each.movedim(-1, axis) for each in (x, v, touched))
    residual = noisy(sparse=True, detach_collision=detach, layout=layout, system_axis=axis)
    changed = residual(x, v) != x + v
    assert torch.equal(changed, touched)
    everywhere = noisy(detach_collision=detach, layout=layout, system_axis=axis)(x, v) != x + v
    some = touched.any(axis, keepdim=True).expand_as(touched)
    assert torch.equal(everywhere, some)


def test_sparse_noise_has_the_variance_of_the_collisions_of_each_system():
    x, v, _ = features(1, 64, scale=0.8)
    x, v = x.expand(4000, -1), v.expand(4000, -1)  # one system, many draws
    collided = (kiti()(x, v) - (x + v)).square().sum(1)
    noise = (noisy(sparse=True)(x, v) - (x + v)).square().sum(1)
    assert collided.mean() > 0
    torch.testing.assert_close(noise.mean(), collided.mean(), rtol=0.03, atol=0)
    z = noisy(sparse=True)(x, v) - (x + v)
    assert abs((z * v).sum() / z.square().sum()) < 0.02


@pytest.mark.parametrize("sparse", [False, True])
def test_noise_is_the_size_times_one_normal_number_a_feature(sparse):
    """Also that the noise of committed records is what it was."""
    x, v, _ = features(6, 32, scale=0.8, dtype=torch.float32)
    generator = noisy().draws.generator(x, v)
    change = collide(x, v, collision_heads=2, coll_coef=0.6, generator=generator) - (x + v)
    z = torch.randn(change.shape, generator=torch.Generator().manual_seed(int(draw_seed(generator))))
    size = change.square().mean(1, keepdim=True).sqrt()
    if sparse:
        touched = touched_by(x, v)
        size = (change.square().sum(1, keepdim=True) / touched.sum(1, keepdim=True).clamp_min(1)).sqrt() * touched
    expected = x + v + size * z
    for detach in (True, False):
        actual = noisy(sparse=sparse, detach_collision=detach)(x, v)
        assert torch.equal(actual, expected) if not sparse else torch.allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dt", [1.0, 0.7])
def test_the_gradient_of_noise_is_that_of_the_collision_or_of_the_addition(sparse, dt):
    x, v, weight = features(6, 32, scale=0.8)
    x, v = x.requires_grad_(), v.requires_grad_()

    def gradients(residual):
        return torch.autograd.grad((residual(x, v) * weight).sum(), (x, v))

    through = gradients(noisy(sparse=sparse, dt=dt, detach_collision=False))
    torch.testing.assert_close(through, gradients(kiti(dt=dt)), rtol=0, atol=0)
    assert not torch.allclose(through[1], dt * weight)
    torch.testing.assert_close(gradients(noisy(sparse=sparse, dt=dt)), (weight, dt * weight))


@pytest.mark.parametrize(
    "settings", [{"pairing": "random"}, {"terms": "means"}, {"terms": "kicks", "position_update": False}]
)
def test_detached_placebos_have_their_value_and_the_gradient_of_the_addition(settings):
    x, v, weight = features(6, 32, scale=0.8)
    x, v = x.requires_grad_(), v.requires_grad_()
    moved = kiti(detach_collision=True, **settings)(x, v)
    torch.testing.assert_close(moved, kiti(**settings)(x, v))
    torch.testing.assert_close(torch.autograd.grad(moved, (x, v), weight), (weight, weight))


def test_statistics_of_noise_are_those_of_the_collisions_it_replaces():
    x, v, _ = features(6, 32, scale=0.8)
    collisions = []
    for residual in (kiti(), noisy(sparse=True), noisy(sparse=True, detach_collision=False)):
        residual(x, v)
        collisions.append(residual.collisions)
    assert collisions[0] == collisions[1] == collisions[2]
