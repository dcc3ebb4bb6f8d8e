"""The collision under torch.func and twice differentiated: the numbers of plain calls, or one line."""

from functools import partial

import pytest
import torch
from collision_cases import every, features, unit_vectors
from torch.func import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vmap

from kiti.collision.dispatch import collide, collide_with_statistics

SETTINGS = {"collision_heads": 2, "coll_coef": 0.9}
fused = pytest.mark.parametrize("implementation", ["numba", pytest.param("triton", marks=pytest.mark.slow)])


def seeded(function, *inputs):
    torch.manual_seed(5)
    return function(*inputs)


@every
@pytest.mark.parametrize("coef", [0.9, 0.01])
def test_grad_and_jacrev_are_those_of_autograd(implementation, coef):
    x, v, weight = features(2, 6, scale=0.3)
    f = partial(collide, collision_heads=2, coll_coef=coef, implementation=implementation)

    def loss(x, v):
        return (f(x, v) * weight).sum()

    a, b = x.clone().requires_grad_(), v.clone().requires_grad_()
    expected = torch.autograd.grad(seeded(loss, a, b), (a, b))
    torch.testing.assert_close(seeded(grad(loss, (0, 1)), x, v), expected, rtol=0, atol=0)
    jacobian = seeded(jacrev(f, (0, 1)), x, v)
    torch.testing.assert_close([torch.einsum("sd,sdte->te", weight, each) for each in jacobian], [*expected])


@every
def test_an_outer_gradient_sees_the_value_of_an_inner_one(implementation):
    x, v, weight = features(2, 6, scale=0.3)

    def loss(x, v):
        return (collide(x, v, implementation=implementation, **SETTINGS) * weight).sum()

    nested = grad(lambda v: grad_and_value(lambda x: loss(x, v))(x)[1])
    torch.testing.assert_close(seeded(nested, v), seeded(grad(loss, 1), x, v), rtol=0, atol=0)


@every
@pytest.mark.parametrize(
    "settings", [{}, {"layout": "strided"}, {"reduction": "max_one"}, {"reduction": "mean", "dt": 0.5}]
)
@pytest.mark.parametrize("max_over", ["system", "batch"])
def test_vmap_with_given_directions_is_a_loop(implementation, settings, max_over):
    x, v, _ = features(2, 3, 6, scale=0.3)
    n = unit_vectors(3, 2, n=3, heads=2)  # samples on axis 1
    settings = {**SETTINGS, **settings, "max_over": max_over, "implementation": implementation}

    def f(x, v, n):
        return collide_with_statistics(x, v, directions=n, **settings)

    together = vmap(f, in_dims=(0, 0, 1))(x, v, n)
    alone = [f(x[i], v[i], n[:, i]) for i in range(2)]
    torch.testing.assert_close(together[0], torch.stack([out for out, _ in alone]), rtol=0, atol=0)
    for name in ("partners", "energy_ratio"):
        expected = torch.stack([getattr(statistics, name) for _, statistics in alone])
        torch.testing.assert_close(getattr(together[1], name), expected)


@every
@pytest.mark.parametrize("in_dims", [(0, 0), (1, 0), (None, 0)])
def test_vmap_with_the_same_randomness_repeats_the_directions_in_every_sample(implementation, in_dims):
    x, v, _ = features(3, 3, 6, scale=0.3)
    x = x if in_dims[0] is not None else x[0]
    f = partial(collide, implementation=implementation, **SETTINGS)
    together = seeded(vmap(f, in_dims=in_dims, randomness="same"), x, v)
    for sample in range(3):
        own = x if in_dims[0] is None else x.select(in_dims[0], sample)
        torch.testing.assert_close(together[sample], seeded(f, own, v[sample]), rtol=0, atol=0)


@every
def test_vmap_with_different_randomness_draws_for_every_sample(implementation):
    x, v, _ = features(2, 6, scale=0.3)
    f = partial(collide, implementation=implementation, **SETTINGS)
    samples = [each.expand(4, 2, 6) for each in (x, v)]
    together = seeded(vmap(f, randomness="different"), *samples)
    assert len(torch.unique(together.flatten(1), dim=0)) == 4
    torch.testing.assert_close(together, seeded(vmap(f, randomness="different"), *samples), rtol=0, atol=0)


@every
def test_vmap_draws_nothing_unless_told_how(implementation):
    x, v, _ = features(2, 6)
    with pytest.raises(RuntimeError, match="'same' or 'different' randomness"):
        vmap(partial(collide, implementation=implementation, **SETTINGS))(x, v)


@every
@pytest.mark.parametrize("randomness", ["same", "different"])
def test_gradients_of_every_sample_use_the_directions_of_its_forward(implementation, randomness):
    x, v, weight = features(3, 2, 6, scale=0.3)
    f = partial(collide, implementation=implementation, **SETTINGS)
    each = vmap(grad(lambda x, v, w: (f(x, v) * w).sum(), (0, 1)), randomness=randomness)
    a, b = x.clone().requires_grad_(), v.clone().requires_grad_()
    out = seeded(vmap(f, randomness=randomness), a, b)
    expected = torch.autograd.grad((out * weight).sum(), (a, b))
    torch.testing.assert_close(seeded(each, x, v, weight), expected)


@pytest.mark.parametrize("implementation", ["literal", "numba"])
@pytest.mark.parametrize("outer", ["same", "different"])
@pytest.mark.parametrize("inner", ["same", "different"])
def test_vmap_of_vmap(implementation, outer, inner):
    x, v, _ = features(2, 6, scale=0.3)
    f = partial(collide, implementation=implementation, **SETTINGS)
    samples = [each.expand(3, 4, 2, 6) for each in (x, v)]
    out = seeded(vmap(vmap(f, randomness=inner), randomness=outer), *samples)
    assert len(torch.unique(out.flatten(2), dim=0)) == (3 if outer == "different" else 1)
    assert len(torch.unique(out.flatten(2), dim=1)[0]) == (4 if inner == "different" else 1)


def test_literal_has_forward_mode_and_second_derivatives():
    x, v, tangent = features(2, 6, scale=0.3)
    f = partial(collide, directions=unit_vectors(2, n=3, heads=2), implementation="literal", **SETTINGS)
    _, change = jvp(f, (x, v), (tangent, tangent.flip(0)))
    jacobian = jacrev(f, (0, 1))(x, v)
    expected = sum(
        torch.einsum("sdte,te->sd", each, t) for each, t in zip(jacobian, (tangent, tangent.flip(0)), strict=True)
    )
    torch.testing.assert_close(change, expected)
    torch.testing.assert_close(jacfwd(f)(x, v), jacobian[0])
    cubes = hessian(lambda v: f(x, v).pow(3).sum())(v)
    torch.testing.assert_close(cubes, torch.autograd.functional.hessian(lambda v: f(x, v).pow(3).sum(), v))
    assert torch.autograd.gradgradcheck(f, (x.requires_grad_(), v.requires_grad_()))


SECOND = r"second derivatives or forward mode .* implementation='literal'"


@fused
def test_a_fused_form_refuses_forward_mode(implementation):
    x, v, _ = features(2, 6, scale=0.3)
    f = partial(collide, directions=unit_vectors(2, n=3, heads=2), implementation=implementation, **SETTINGS)
    with pytest.raises(RuntimeError, match=SECOND):
        jvp(f, (x, v), (v, x))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(RuntimeError, match=SECOND):
        f(torch.autograd.forward_ad.make_dual(x, v), v)
    with pytest.raises(RuntimeError, match=SECOND):
        hessian(lambda v: f(x, v).square().sum())(v)


@fused
def test_a_fused_form_refuses_second_derivatives(implementation):
    x, v, _ = features(2, 6, scale=0.3)
    f = partial(collide, implementation=implementation, **SETTINGS)
    with pytest.raises(RuntimeError, match=SECOND):
        torch.autograd.functional.hessian(lambda v: f(x, v).sum(), v)
    with pytest.raises(RuntimeError, match=SECOND):
        grad(lambda v: grad(lambda v: f(x, v).sum())(v).square().sum())(v)
    a = v.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x, a).sum(), a, create_graph=True)  # as a gradient penalty
    with pytest.raises(RuntimeError, match=SECOND):
        (slope.square().sum() + a.sum()).backward()


@fused
def test_without_a_collision_second_derivatives_are_those_of_the_addition(implementation):
    x, v, _ = features(2, 6)
    f = partial(collide, collision_heads=2, coll_coef=0.0, dt=0.5, implementation=implementation)
    found = torch.autograd.functional.hessian(lambda v: f(x, v).pow(3).sum(), v)
    torch.testing.assert_close(found, torch.autograd.functional.hessian(lambda v: (x + 0.5 * v).pow(3).sum(), v))
