"""Which inputs the collision takes: non-finite, half precision, any strides and shape; what it refuses."""

import math

import pytest
import torch
from collision_cases import every, features, run, unit_vectors

from kiti.collision.dispatch import collide, collide_with_statistics


@every
@pytest.mark.parametrize("coef", [0.6, 1.0])
@pytest.mark.parametrize("heads", [1, 2])
def test_nan_does_not_spread(implementation, coef, heads):
    x, v, _ = features(3, 12, scale=0.2)
    x[1, 5] = torch.nan  # that particle collides with none, the others in its system do
    v[2, 5] = torch.nan  # no max(V_r): nothing in its system collides
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
    # The result and its gradient are rounded once, not once for each of dozens of partners.
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
def test_errors_name_argument_value_and_fix(arguments, message):
    with pytest.raises(ValueError, match=message):
        collide(**{"x": X, "v": X, "collision_heads": 2, "coll_coef": 0.5, **arguments})
