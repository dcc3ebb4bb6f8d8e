"""Every implementation of the collision against loops, against `literal` and against the invariants of the physics."""

import math

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import kiti.collision.cpu_kernels
import kiti.collision.cpu_sums
from kiti.collision import collide, collide_with_statistics, cpu

# Triton's interpreter takes a second for what takes a GPU microseconds: few and small systems for it here, and
# tests of its own in test_triton.py.
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
    """x', the statistics and, given what to weigh x' with, the gradients of x and v."""
    x, v = x.detach().clone().requires_grad_(), v.detach().clone().requires_grad_()
    out, statistics = collide_with_statistics(x, v, **settings)
    gradients = torch.autograd.grad(out, (x, v), torch.ones_like(out) if weight is None else weight)
    return out.detach(), *statistics, *gradients


def by_loops(x, v, n, coef, dt, mean=False, update=True):
    """Algorithm 1 for a single system of particles (N, heads), in plain Python numbers."""
    size, heads = x.shape
    x, v, n = x.tolist(), v.tolist(), n.tolist()
    fast = max(math.dist(a, b) for a in v for b in v)
    out = []
    for i in range(size):
        score = [math.dist(v[i], v[j]) * math.exp(-math.dist(x[i], x[j])) / fast for j in range(size)]
        partners = [j for j in range(size) if score[j] > 1 - coef]
        for h in range(heads):
            kicks = [(v[i][h] + v[j][h]) / 2 + math.dist(v[i], v[j]) * n[i][j][h] / 2 - v[i][h] for j in partners]
            middles = [(x[i][h] + x[j][h]) / 2 for j in partners]
            velocity = v[i][h] + sum(kicks) / (max(1, len(partners)) if mean else 1)
            position = (x[i][h] + sum(middles)) / (1 + len(partners)) if update else x[i][h]
            out.append(position + dt * velocity)
    return torch.tensor(out, dtype=torch.float64)


@every
@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("coef", [0.2, 0.6, 1.0])
@pytest.mark.parametrize(("mean", "update"), [(False, True), (True, True), (False, False)])
def test_equals_plain_loops(implementation, heads, coef, mean, update):
    n = 5
    x, v, _ = features(n, heads, scale=0.3)
    directions = unit_vectors(n=n, heads=heads)
    settings = {
        "collision_heads": heads, "coll_coef": coef, "dt": 0.7, "directions": directions,
        "reduction": "mean" if mean else "sum", "position_update": update, "implementation": implementation,
    }  # fmt: skip
    expected = by_loops(x, v, directions, coef, 0.7, mean, update)
    torch.testing.assert_close(collide(x.flatten(), v.flatten(), **settings), expected, rtol=1e-12, atol=1e-12)
    strided = collide(x.T.flatten(), v.T.flatten(), layout="strided", **settings)
    torch.testing.assert_close(strided.view(heads, n).T.flatten(), expected, rtol=1e-12, atol=1e-12)


# Nothing, some and everything accepted.
REGIMES = {"none": (8.0, 0.3), "some": (0.7, 0.6), "most": (0.2, 0.97), "all": (0.1, 1.0)}


@pytest.mark.parametrize("reduction", ["sum", "mean", "max_one"])
@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("heads", "n"), [(1, 33), (2, 16), (8, 7), (8, 1), (7, 40), (2, 150)])
def test_numba_equals_literal(heads, n, regime, layout, reduction):
    scale, coef = REGIMES[regime]
    x, v, weight = features(2, 3, n * heads, scale=scale)
    for update, over in [(True, "system"), (False, "system"), (True, "batch")]:
        settings = {
            "collision_heads": heads, "coll_coef": coef, "dt": 0.8, "layout": layout, "reduction": reduction,
            "position_update": update, "max_over": over, "directions": unit_vectors(2, 3, n=n, heads=heads),
        }  # fmt: skip
        literal = run(x, v, weight, implementation="literal", **settings)
        numba = run(x, v, weight, implementation="numba", **settings)
        torch.testing.assert_close(numba, literal, rtol=1e-10, atol=1e-10)


def test_regimes_cover_what_they_say():
    for regime, low, high in [("none", 0, 0), ("some", 0.05, 10), ("most", 10, 15), ("all", 15, 15)]:
        scale, coef = REGIMES[regime]
        x, v, _ = features(2, 3, 32, scale=scale)
        partners = collide_with_statistics(x, v, collision_heads=2, coll_coef=coef)[1].partners
        assert low <= partners <= high


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("reduction", ["sum", "max_one"])
@pytest.mark.parametrize("coef", [0.4, 0.9, 1.0])
def test_numba_in_many_small_pieces_equals_literal(heads, reduction, coef):
    """More pairs than are listed at once, and more than are drawn together."""
    x, v, weight = features(2, 130 * heads, scale=0.2)
    settings = {"collision_heads": heads, "coll_coef": coef, "reduction": reduction}
    directions = unit_vectors(2, n=130, heads=heads)
    literal = run(x, v, weight, implementation="literal", directions=directions, **settings)
    numba = run(x, v, weight, implementation="numba", directions=directions, **settings)
    torch.testing.assert_close(numba, literal, rtol=1e-10, atol=1e-10)
    pairs = 130 * literal[1] / 2
    assert (
        coef < 1 or reduction == "max_one" or pairs > kiti.collision.cpu_kernels.LISTED > kiti.collision.cpu_sums.BLOCKS
    )


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_numba_accepts_the_pairs_that_literal_accepts_in_float32(offset):
    """Also far from the origin, where a square of the raw positions would have no digits left."""
    x, v, _ = features(64, 256, scale=0.6, dtype=torch.float32)
    x = x + offset
    settings = {"collision_heads": 4, "coll_coef": 0.7, "directions": unit_vectors(64, n=64, heads=4).float()}
    numba, literal = (collide_with_statistics(x, v, implementation=name, **settings) for name in ("numba", "literal"))
    assert numba[1].partners == literal[1].partners > 0
    torch.testing.assert_close(numba[0], literal[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "n"), [(1, 12), (2, 7), (5, 5), (8, 3)])
def test_fused_forms_draw_the_same_from_a_seed(heads, n):
    coef = 0.9
    x, v, weight = features(2, n * heads, scale=0.1, dtype=torch.float32)
    numba, triton = (
        run(x, v, weight, collision_heads=heads, coll_coef=coef, generator=torch.Generator().manual_seed(3),
            implementation=name) for name in ("numba", "triton")
    )  # fmt: skip
    assert numba[1] > 0
    torch.testing.assert_close(numba, triton, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("speed", [1e25, 1e19, 3e-20, 1e-25])
def test_numba_accepts_what_literal_accepts_where_squares_overflow_or_vanish(heads, speed):
    x, v, _ = features(5, 64, scale=0.1, dtype=torch.float32)
    settings = {"collision_heads": heads, "coll_coef": 0.9}
    numba, literal = (
        collide_with_statistics(x, speed * v, implementation=name, **settings)[1] for name in ("numba", "literal")
    )
    assert numba.partners == literal.partners


@pytest.mark.parametrize("coef", [0.4, 0.9])
def test_threads_change_nothing(coef, monkeypatch):
    monkeypatch.setattr(cpu, "_SHARE", 1)
    x, v, weight = features(7, 34, scale=0.3)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            settings = {"collision_heads": 2, "coll_coef": coef, "generator": torch.Generator().manual_seed(3)}
            results.append(run(x, v, weight, implementation="numba", **settings))
    finally:
        torch.set_num_threads(before)
    for one in results[1:]:
        torch.testing.assert_close(one, results[0], rtol=0, atol=0)


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
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("n", "coef", "scale"), [(8, 0.0, 0.1), (8, 0.3, 20.0), (1, 1.0, 1.0)])
def test_nothing_accepted_is_the_plain_residual_bit_for_bit(implementation, dtype, n, coef, scale):
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
    assert statistics.energy_ratio > 1.5  # the literal sum heats (spec A7)
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
def test_max_one_takes_at_most_one_partner_where_scores_tie(implementation):
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    x, v = torch.zeros(8, dtype=torch.float64), corners.flatten()
    settings = {"collision_heads": 2, "coll_coef": 1.0, "reduction": "max_one", "position_update": False}
    out, statistics = collide_with_statistics(
        x, v, directions=unit_vectors(n=4, heads=2), implementation=implementation, **settings
    )
    assert statistics.partners == 1  # both diagonals, which tie
    torch.testing.assert_close(out.square().sum(), v.square().sum())


@every
def test_coefficient_one_accepts_every_moving_pair(implementation):
    x, v, _ = features(3, 24)
    v = v.view(3, 8, 3)
    v[:, 1] = v[:, 0]  # at rest to each other: 27 of 28 pairs
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
    assert len(noise[:, 0, 0].unique()) == systems  # no draw repeats over systems


@every
def test_one_seed_a_call(implementation):
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


@every
@pytest.mark.parametrize("coef", [0.6, 1.0])
@pytest.mark.parametrize("heads", [1, 2])
def test_nan_reaches_nobody_else(implementation, coef, heads):
    x, v, _ = features(3, 12, scale=0.2)
    x[1, 5] = torch.nan  # that particle meets nobody, the others of its system go on
    v[2, 5] = torch.nan  # no max(V_r): its system collides nothing
    directions = unit_vectors(3, n=12 // heads, heads=heads)
    out, partners, _, grad_x, grad_v = run(
        x, v, collision_heads=heads, coll_coef=coef, directions=directions, implementation=implementation
    )
    assert partners > 0
    assert out.isnan().nonzero().tolist() == [[1, 5], [2, 5]]
    assert torch.equal(out[2].nan_to_num(), (x + v)[2].nan_to_num())
    assert torch.isfinite(grad_x).all()
    assert torch.isfinite(grad_v).all()


@every
def test_infinite_features_collide_with_nothing(implementation):
    x, v, _ = features(2, 12, scale=0.2)
    x[0, 3] = v[1, 3] = torch.inf
    out, statistics = collide_with_statistics(x, v, collision_heads=2, coll_coef=0.9, implementation=implementation)
    assert statistics.partners > 0
    assert torch.equal(out[1], (x + v)[1])
    assert out[0].isfinite().sum() == 11


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("coef", [0.6, 1.0])
def test_half_precision_is_summed_in_float32(implementation, dtype, coef):
    x, v, weight = features(2, 24, scale=0.1, dtype=dtype)
    settings = {"collision_heads": 2, "coll_coef": coef, "implementation": implementation}
    directions = unit_vectors(2, n=12, heads=2, dtype=torch.float32)
    half = run(x, v, weight, directions=directions, **settings)
    single = run(x.float(), v.float(), weight.float(), directions=directions, **settings)
    assert half[0].dtype == half[3].dtype == half[4].dtype == dtype
    assert half[1] == single[1] > 1
    # One rounding of the result and of its gradient, not one for each of dozens of partners.
    for h, s in zip((half[0], half[3], half[4]), (single[0], single[3], single[4]), strict=True):
        torch.testing.assert_close(h, s.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)


@every
def test_autocast_does_not_lower_the_precision(implementation):
    x, v, weight = features(2, 24, scale=0.1, dtype=torch.float32)
    settings = {
        "collision_heads": 2, "coll_coef": 0.8, "implementation": implementation,
        "directions": unit_vectors(2, n=12, heads=2, dtype=torch.float32),
    }  # fmt: skip
    expected = run(x, v, weight, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(run(x, v, weight, **settings), expected, rtol=0, atol=0)


@every
@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_non_contiguous_input(implementation, layout):
    x, v, weight = features(12, 2, 3, scale=0.3)
    directions = unit_vectors(3, 2, n=6, heads=2)
    settings = {"collision_heads": 2, "coll_coef": 0.7, "layout": layout, "directions": directions,
                "implementation": implementation}  # fmt: skip
    views = [t.permute(2, 1, 0) for t in (x, v, weight)]
    torch.testing.assert_close(run(*views, **settings), run(*(t.contiguous() for t in views), **settings))


@every
@pytest.mark.parametrize("shape", [(0, 8), (3, 0, 8), (4, 0)])
def test_empty(implementation, shape):
    x, v, weight = features(*shape)
    out, partners, energy_ratio, *_ = run(x, v, weight, collision_heads=2, coll_coef=1.0, implementation=implementation)
    assert out.shape == shape
    assert (partners, energy_ratio) == (0, 1)


@every
def test_leading_dimensions_are_systems(implementation):
    x, v, _ = features(2, 3, 16, scale=0.3)
    directions = unit_vectors(2, 3, n=8, heads=2)
    settings = {"collision_heads": 2, "coll_coef": 0.8, "implementation": implementation}
    whole = collide(x, v, directions=directions, **settings)
    for a in range(2):
        for b in range(3):
            alone = collide(x[a, b], v[a, b], directions=directions[a, b], **settings)
            torch.testing.assert_close(alone, whole[a, b], rtol=1e-12, atol=1e-12)


@every
def test_batch_maximum_is_that_of_the_fastest_system(implementation):
    x, v, _ = features(2, 16, scale=0.1)
    v = torch.stack([v[0], 1e3 * v[1]])
    settings = {"collision_heads": 2, "coll_coef": 0.9, "implementation": implementation}
    assert torch.equal(collide(x, v, max_over="batch", **settings)[0], (x + v)[0])
    assert not torch.equal(collide(x, v, max_over="system", **settings)[0], (x + v)[0])


@every
def test_energy_ratio_is_that_of_the_velocities(implementation):
    x, v, _ = features(3, 32, scale=0.2)
    settings = {"collision_heads": 2, "coll_coef": 0.8, "position_update": False, "implementation": implementation}
    out, statistics = collide_with_statistics(x, v, dt=0.5, **settings)
    expected = ((out - x) / 0.5).square().sum() / v.square().sum()
    torch.testing.assert_close(statistics.energy_ratio, expected)
    assert not statistics.energy_ratio.requires_grad
    assert collide_with_statistics(x, 0 * v, **settings)[1].energy_ratio == 1


X = torch.zeros(2, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coll_coef": 1.5}, r"coll_coef=1.5: a number in \[0, 1\]"),
        ({"coll_coef": -0.1}, r"coll_coef=-0.1: a number in \[0, 1\]"),
        ({"coll_coef": math.nan}, r"coll_coef=nan: a number in \[0, 1\]"),
        ({"collision_heads": 0}, "collision_heads=0: a positive int"),
        ({"collision_heads": -2}, "collision_heads=-2: a positive int"),
        ({"collision_heads": True}, "collision_heads=True: a positive int"),
        ({"collision_heads": 5}, "collision_heads=5 does not divide D=12; 4 and 6 do"),
        ({"collision_heads": 13}, "collision_heads=13 does not divide D=12; the nearest that does is 12"),
        ({"v": torch.zeros(2, 8)}, r"x and v differ in shape: \(2, 12\) and \(2, 8\)"),
        ({"v": X.double()}, "x and v differ in dtype: torch.float32 and torch.float64"),
        ({"v": X.to("meta")}, "x and v differ in device: cpu and meta"),
        ({"x": X.int()}, "x has dtype torch.int32: a real floating-point"),
        ({"v": X.to(torch.complex64)}, "v has dtype torch.complex64: a real floating-point"),
        ({"x": torch.zeros(()), "v": torch.zeros(())}, r"x has shape \(\)"),
        ({"dt": math.inf}, "dt=inf: a finite number"),
        ({"dt": math.nan}, "dt=nan: a finite number"),
        ({"layout": "rows"}, "layout='rows': one of 'contiguous', 'strided'"),
        ({"reduction": "max"}, "reduction='max': one of 'sum', 'mean', 'max_one'"),
        ({"max_over": "world"}, "max_over='world': one of 'system', 'batch'"),
        ({"implementation": "fast"}, "implementation='fast': one of 'auto', 'literal', 'numba', 'triton'"),
        ({"directions": torch.zeros(2, 6, 6, 3)}, r"directions has shape \(2, 6, 6, 3\): \(2, 6, 6, 2\)"),
        ({"directions": torch.zeros(2, 6, 6, 2).int()}, "directions has dtype torch.int32"),
    ],
)
def test_errors_name_argument_value_and_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        collide(**{"x": X, "v": X, "collision_heads": 2, "coll_coef": 0.5, **arguments})
