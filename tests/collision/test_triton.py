"""The Triton kernels in Triton's interpreter, against `literal` and plain loops.

Interpreted, a program takes half a second: only few, small systems.
"""

import pytest
import torch
from triton_cases import DEVICE, by_literal, by_triton, features, quiet, unit_vectors

from kiti.collision.gpu import triton_backend as gpu
from kiti.collision.rules import Rules

pytest.importorskip("triton")

interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are compiled on a GPU")
pytestmark = quiet

CASES = [  # N, heads, scale of x, coll_coef, further rules: particles and components that fill tiles or do not
    (1, 4, 1.0, 1.0, {}),
    (2, 1, 0.2, 0.9, {}),
    (5, 3, 0.3, 0.7, {"reduction": "mean", "dt": 0.7}),
    (5, 65, 0.02, 0.9, {"layout": "strided"}),
    (9, 2, 0.2, 1.0, {"layout": "strided", "position_update": False}),
    (17, 5, 0.1, 1.0, {"dt": 0.7}),
    (17, 1, 0.3, 0.8, {"reduction": "max_one", "layout": "strided"}),
    (33, 8, 0.4, 0.7, {"max_over": "batch"}),
    (33, 8, 0.3, 0.7, {"reduction": "mean", "layout": "strided", "position_update": False}),
    (36, 65, 0.03, 0.7, {"reduction": "max_one", "dt": 0.7}),
    (130, 2, 0.3, 0.4, {"layout": "strided"}),
    (200, 8, 0.2, 0.45, {"max_over": "batch"}),
]
PLACEBOS = [  # as CASES
    (5, 3, 0.3, 0.8, {"pairing": "random", "reduction": "mean", "dt": 0.7}),
    (16, 2, 0.3, 0.6, {"pairing": "random", "terms": "kicks", "position_update": False}),
    (17, 1, 0.3, 0.9, {"pairing": "random", "reduction": "max_one", "layout": "strided"}),
    (17, 65, 0.02, 0.8, {"terms": "kicks"}),
    (33, 8, 0.4, 0.7, {"terms": "means", "reduction": "mean", "max_over": "batch"}),
    (130, 2, 0.3, 0.4, {"pairing": "random", "layout": "strided"}),
]


@pytest.mark.parametrize(
    ("dtype", "n", "heads", "scale", "coef", "rules"),
    [*((torch.float64, *case) for case in [*CASES, *PLACEBOS]), *((torch.float32, *case) for case in CASES[1::3])],
)
def test_equals_literal(dtype, n, heads, scale, coef, rules):
    systems = 2 if n < 100 else 1
    x, v, weight = features(systems, n * heads, scale=scale, dtype=dtype)
    rules, directions = Rules(heads, coef, **rules), unit_vectors(systems, n, heads, dtype)
    expected = by_literal(x, v, weight, rules, directions)
    assert n == 1 or expected[1] > 0
    tolerance = 1e-11 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(by_triton(x, v, weight, rules, directions), expected, rtol=tolerance, atol=tolerance)


def test_components_in_several_tiles_equal_literal(monkeypatch):
    form = gpu._form
    monkeypatch.setattr(gpu, "_form", lambda *arguments: form(*arguments) | {"C": 4})
    x, v, weight = features(1, 2 * 10, scale=0.1)
    rules, directions = Rules(10, 0.9), unit_vectors(1, 2, 10)
    expected = by_literal(x, v, weight, rules, directions)
    torch.testing.assert_close(by_triton(x, v, weight, rules, directions), expected, rtol=1e-11, atol=1e-11)
    drawn = by_triton(x, v, weight, rules, seed=5)
    monkeypatch.undo()
    torch.testing.assert_close(drawn, by_triton(x, v, weight, rules, seed=5), rtol=1e-6, atol=1e-6)


def test_statistics():
    x, v, _ = features(2, 9 * 2, scale=0.2)
    rules = Rules(2, 0.8, dt=0.5, position_update=False)
    done = gpu.forward(x, v, rules, 3, None, None)
    torch.testing.assert_close(done.v_max, (v.view(2, 9, 1, 2) - v.view(2, 1, 9, 2)).norm(dim=-1).amax((1, 2)))
    after = ((done.x_new - x) / 0.5).square().sum(1)
    torch.testing.assert_close(done.energy, torch.stack([v.square().sum(1), after], 1))
    assert done.k.dtype == torch.int32
    assert done.k.sum() > 0
    again = gpu.forward(x, v, rules, 3, None, done.v_max)
    torch.testing.assert_close(again, done, rtol=0, atol=0)


@pytest.mark.parametrize(("n", "heads"), [(1, 2), (6, 3), (40, 5), (140, 1)])
def test_max_speed(n, heads):
    _, v, _ = features(2, n * heads, dtype=torch.float32)
    expected = (v.view(2, n, 1, heads) - v.view(2, 1, n, heads)).square().sum(-1).sqrt().amax((1, 2))
    torch.testing.assert_close(gpu.max_speed(v, heads, False), expected, rtol=3e-7, atol=0)
    v[1, -1] = torch.inf
    assert gpu.max_speed(v, heads, False).isnan().tolist() == [False, True]


def test_partners_choose_each_other():
    x, v, _ = features(1, 17 * 2, scale=0.3)
    done = gpu.forward(x, v, Rules(2, 0.9, reduction="max_one"), 0, None, None)
    partner = done.kept[0].tolist()
    assert all(j == -1 or partner[j] == i for i, j in enumerate(partner))
    assert torch.equal(done.k, (done.kept >= 0).int())
    assert done.k.sum() > 0
    torch.testing.assert_close(done.energy[:, 0], done.energy[:, 1])  # one partner each, so elastic


# What must not collide and what must not spread


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dt", [1, 0.7])
def test_without_collisions_it_is_the_plain_addition(dtype, dt):
    for layout, coef, (n, heads) in (("contiguous", 0, (17, 3)), ("strided", 0.3, (9, 8))):
        x, v, weight = features(2, n * heads, scale=4.0, dtype=dtype)
        out, k, grad_x, grad_v = by_triton(x, v, weight, Rules(heads, coef, dt=dt, layout=layout))
        assert k == 0
        assert torch.equal(out, torch.add(x, v, alpha=dt))
        assert torch.equal(grad_x, weight)
        assert torch.equal(grad_v, weight * dt)


def test_only_some_particles_collide():
    x, v, weight = features(1, 40 * 2, scale=0.3, dtype=torch.bfloat16)
    out, k, grad_x, _ = by_triton(x, v, weight, Rules(2, 0.5))
    same = (out == x + v).view(40, 2).all(1)
    assert 0 < k < 40
    assert 0 < same.sum() < 40
    assert (grad_x == weight).view(40, 2)[same].all()


@pytest.mark.parametrize(("n", "heads", "scale"), [(6, 4, 0.2), (17, 8, 0.2)])
def test_nan_does_not_spread(n, heads, scale):
    x, v, weight = features(3, n * heads, scale=scale)
    x[1, 5] = torch.nan  # that particle collides with none, the others in its system do
    v[2, 5] = torch.nan  # no max(V_r): nothing in its system collides
    rules, directions = Rules(heads, 0.7), unit_vectors(3, n, heads)
    got, expected = by_triton(x, v, weight, rules, directions), by_literal(x, v, weight, rules, directions)
    assert got[1] > 0
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11, equal_nan=True)
    assert got[0].isnan().nonzero().tolist() == [[1, 5], [2, 5]]


@pytest.mark.parametrize("value", [torch.inf, 1e25])
@pytest.mark.parametrize("heads", [2, 8])
def test_infinite_and_overflowing_features(heads, value):
    x, v, weight = features(2, 12 * heads, scale=0.2, dtype=torch.float32)
    x[0, 3], v[1, 3] = value, value
    rules, directions = Rules(heads, 0.9), unit_vectors(2, 12, heads, torch.float32)
    got, expected = by_triton(x, v, weight, rules, directions), by_literal(x, v, weight, rules, directions)
    assert got[1] > 0
    torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("heads", [1, 8])
def test_equal_velocities_do_not_collide(heads):
    x, v, weight = features(1, 17 * heads, scale=0.1)
    v = torch.ones_like(v)
    for rules in (Rules(heads, 1.0), Rules(heads, 1.0, reduction="max_one")):
        out, k, *_ = by_triton(x, v, weight, rules)
        assert k == 0
        assert torch.equal(out, x + v)


@pytest.mark.parametrize("shape", [(0, 8), (3, 0)])
@pytest.mark.parametrize("reduction", ["sum", "max_one"])
def test_empty(shape, reduction):
    x = torch.zeros(shape, device=DEVICE)
    done = gpu.forward(x, x, Rules(2, 1.0, reduction=reduction), 0, None, None)
    assert done.x_new.shape == shape
    assert done.k.shape == (shape[0], shape[1] // 2)
    assert done.energy.tolist() == [[0.0, 0.0]] * shape[0]
    grads = gpu.backward(x, x, x, Rules(2, 1.0), 0, None, done.k, done.v_max, done.kept)
    assert grads[0].shape == grads[1].shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    x, v, weight = features(1, 12 * 5, scale=0.1, dtype=dtype)
    rules, directions = Rules(5, 0.8), unit_vectors(1, 12, 5, torch.float32)
    half = by_triton(x, v, weight, rules, directions)
    single = by_triton(x.float(), v.float(), weight.float(), rules, directions)
    assert half[1] == single[1] > 20
    for h, s in zip((half[0], *half[2:]), (single[0], *single[2:]), strict=True):
        assert h.dtype == dtype
        torch.testing.assert_close(h, s.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)


# The search


@interpreted
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_reduced_precision_products_change_no_pair(monkeypatch, offset):
    """Tensor cores cut float32 to 10 mantissa bits; the interpreter does not, so the test does."""
    from triton.runtime.interpreter import InterpreterBuilder

    exact, calls = InterpreterBuilder.create_dot, []

    def cut(handle):
        handle = handle.clone()
        if handle.data.dtype == "float32":
            handle.data = (handle.data.view("uint32") & 0xFFFFE000).view("float32")
        return handle

    def coarse(self, a, b, *others):
        calls.append(1)
        return exact(self, cut(a), cut(b), *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", coarse)
    x, v, weight = features(1, 33 * 8, scale=0.4, dtype=torch.float32)
    x, v = x + offset, v + offset
    rules, directions = Rules(8, 0.7), unit_vectors(1, 33, 8, torch.float32)
    got, expected = by_triton(x, v, weight, rules, directions), by_literal(x, v, weight, rules, directions)
    assert calls
    assert got[1] == expected[1] > 0
    torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5)
    speed = (v.view(33, 1, 8) - v.view(1, 33, 8)).square().sum(-1).sqrt().amax()
    torch.testing.assert_close(gpu.max_speed(v, 8, False)[0], speed, rtol=3e-7, atol=0)
