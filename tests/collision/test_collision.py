"""Every implementation of the collision, against loops and against `literal`."""

import math

import pytest
import torch
from collision_cases import every, features, run, unit_vectors

from kiti.collision.cpu import numba_backend as cpu
from kiti.collision.cpu import numba_loops, numba_sums
from kiti.collision.dispatch import collide, collide_with_statistics


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


# No pair, some pairs and all pairs accepted.
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


def test_regimes_cover_what_they_claim():
    for regime, low, high in [("none", 0, 0), ("some", 0.05, 10), ("most", 10, 15), ("all", 15, 15)]:
        scale, coef = REGIMES[regime]
        x, v, _ = features(2, 3, 32, scale=scale)
        partners = collide_with_statistics(x, v, collision_heads=2, coll_coef=coef)[1].partners
        assert low <= partners <= high


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("reduction", ["sum", "max_one"])
@pytest.mark.parametrize("coef", [0.4, 0.9, 1.0])
def test_numba_in_many_small_chunks_equals_literal(heads, reduction, coef):
    """More pairs than one list holds, and more than one draw covers."""
    x, v, weight = features(2, 130 * heads, scale=0.2)
    settings = {"collision_heads": heads, "coll_coef": coef, "reduction": reduction}
    directions = unit_vectors(2, n=130, heads=heads)
    literal = run(x, v, weight, implementation="literal", directions=directions, **settings)
    numba = run(x, v, weight, implementation="numba", directions=directions, **settings)
    torch.testing.assert_close(numba, literal, rtol=1e-10, atol=1e-10)
    pairs = 130 * literal[1] / 2
    assert coef < 1 or reduction == "max_one" or pairs > numba_loops.LISTED > numba_sums.BLOCKS


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_numba_accepts_the_pairs_that_literal_accepts_in_float32(offset):
    """Also far from the origin, where squares of the raw positions would have no precision left."""
    x, v, _ = features(64, 256, scale=0.6, dtype=torch.float32)
    x = x + offset
    settings = {"collision_heads": 4, "coll_coef": 0.7, "directions": unit_vectors(64, n=64, heads=4).float()}
    numba, literal = (collide_with_statistics(x, v, implementation=name, **settings) for name in ("numba", "literal"))
    assert numba[1].partners == literal[1].partners > 0
    torch.testing.assert_close(numba[0], literal[0], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "n"), [(1, 12), (2, 7), (5, 5), (8, 3)])
def test_fused_forms_draw_the_same_numbers_from_a_seed(heads, n):
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
def test_numba_accepts_the_pairs_that_literal_accepts_when_squares_overflow_or_underflow(heads, speed):
    x, v, _ = features(5, 64, scale=0.1, dtype=torch.float32)
    settings = {"collision_heads": heads, "coll_coef": 0.9}
    numba, literal = (
        collide_with_statistics(x, speed * v, implementation=name, **settings)[1] for name in ("numba", "literal")
    )
    assert numba.partners == literal.partners


@pytest.mark.parametrize("coef", [0.4, 0.9])
def test_thread_count_changes_nothing(coef, monkeypatch):
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
