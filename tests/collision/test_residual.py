"""Every residual kind is exactly x + dt v at inference and does what its docstring says in training."""

import pytest
import torch
from torch import Tensor, nn

from kiti.collision.directions import draw_seed
from kiti.collision.dispatch import collide
from kiti.residual import Acceleration, AccelerationChain, Add, Dropout, KITIResidual, MatchedNoise, Residual

KINDS = {
    "add": lambda dt=1.0: Add(dt),
    "kiti": lambda dt=1.0: KITIResidual(2, 0.5, dt),
    "kiti, detached": lambda dt=1.0: KITIResidual(2, 0.5, dt, detach_collision=True),
    "kiti, channels": lambda dt=1.0: KITIResidual(2, 0.5, dt, system_axis=1),
    "random pairs": lambda dt=1.0: KITIResidual(2, 0.5, dt, pairing="random"),
    "means only": lambda dt=1.0: KITIResidual(2, 0.5, dt, terms="means"),
    "kicks only": lambda dt=1.0: KITIResidual(2, 0.5, dt, terms="kicks", position_update=False),
    "noise": lambda dt=1.0: MatchedNoise(2, 0.5, dt),
    "sparse noise": lambda dt=1.0: MatchedNoise(2, 0.5, dt, sparse=True, detach_collision=False),
    "dropout": lambda dt=1.0: Dropout(0.5, dt),
    "acceleration": lambda dt=1.0: AccelerationChain(collision_heads=2, coll_coef=0.5, dt=dt)(),
}


def features(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=dtype), torch.randn(shape, generator=generator, dtype=dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dt", [1.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_is_exactly_x_plus_dt_v(kind: str, dt: float, dtype: torch.dtype) -> None:
    x, v = features(3, 6, 8, dtype=dtype)
    residual = KINDS[kind](dt).eval()
    assert torch.equal(residual(x, v), torch.add(x, v, alpha=dt))
    if dt == 1.0:
        assert torch.equal(residual(x, v), x + v)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_adds_to_the_state_dict(kind: str) -> None:
    residual = KINDS[kind]()
    residual(*features(3, 6, 8))
    assert residual.state_dict() == {}
    assert not list(residual.parameters())


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "add"])
def test_training_differs_from_inference(kind: str) -> None:
    x, v = features(3, 6, 8)
    residual = KINDS[kind]()
    assert isinstance(residual, Residual)
    assert residual(x, v).shape == x.shape
    assert not torch.equal(residual(x, v), x + v)


def test_system_axis_is_the_axis_that_collides() -> None:
    x, v = features(3, 6, 8)
    torch.manual_seed(0)
    across = KITIResidual(2, 0.5, system_axis=1)(x, v)
    torch.manual_seed(0)
    along = KITIResidual(2, 0.5)(x.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)
    assert torch.equal(across, along)


def test_one_particle_per_system_trains_as_addition() -> None:
    x, v = features(3, 6, 8)
    assert torch.equal(KITIResidual(8, 1.0)(x, v), x + v)


def test_detached_collision_has_the_gradient_of_addition() -> None:
    x, v = (t.requires_grad_() for t in features(3, 6, 8))
    weight = torch.randn(3, 6, 8)
    residual = KITIResidual(2, 0.5, dt=0.5, detach_collision=True)
    gradients = torch.autograd.grad((residual(x, v) * weight).sum(), [x, v])
    torch.testing.assert_close(gradients[0], weight)
    torch.testing.assert_close(gradients[1], 0.5 * weight)


def test_detached_collision_has_the_value_of_the_collision() -> None:
    x, v = features(3, 6, 8)
    torch.manual_seed(1)
    plain = KITIResidual(2, 0.5)(x, v)
    torch.manual_seed(1)
    torch.testing.assert_close(KITIResidual(2, 0.5, detach_collision=True)(x, v), plain)


def test_noise_has_the_variance_of_collisions_and_no_preferred_direction() -> None:
    x, v = features(400, 64)
    torch.manual_seed(2)
    collided = KITIResidual(2, 0.6)(x, v) - (x + v)
    torch.manual_seed(2)
    noise = MatchedNoise(2, 0.6)(x, v) - (x + v)
    torch.testing.assert_close(noise.square().mean(), collided.square().mean(), rtol=0.05, atol=0)
    # Collisions pull partners together, so they oppose v on average; noise does not.
    assert ((collided * v).mean() / collided.square().mean()) < -0.05
    assert abs((noise * v).mean() / noise.square().mean()) < 0.02


def test_no_noise_where_nothing_collides() -> None:
    x, v = features(4, 16)
    v[2] = 0.5  # all velocities equal: v_max is 0
    changed = MatchedNoise(2, 0.9)(x, v) != x + v
    assert not changed[2].any()
    assert changed[0].any()


class Chained(nn.Module):
    def __init__(self, chain: AccelerationChain, layers: int = 3) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(chain() for _ in range(layers))

    def forward(self, x: Tensor, branches: list[Tensor]) -> Tensor:
        for residual, branch in zip(self.residuals, branches, strict=True):
            x = residual(x, branch)
        return x


def test_acceleration_carries_the_velocity_forward() -> None:
    """With nothing accepted and v_0 = 0, three modules are three steps of x'' = a: x += dt (v += dt a)."""
    chain = AccelerationChain(collision_heads=2, coll_coef=0.0, dt=0.5, v0_scale=0.0)
    model = Chained(chain)
    x, _ = features(4, 8, dtype=torch.float64)
    branches = [features(4, 8, seed=s, dtype=torch.float64)[0] for s in (1, 2, 3)]
    position, velocity = x, torch.zeros_like(x)
    for branch in branches:
        velocity = velocity + 0.5 * branch
        position = position + 0.5 * velocity
    torch.testing.assert_close(model(x, branches), position)
    assert torch.equal(model.eval()(x, branches), ((x + 0.5 * branches[0]) + 0.5 * branches[1]) + 0.5 * branches[2])
    drifting = Chained(AccelerationChain(collision_heads=2, coll_coef=0.9, dt=0.5, drift_in_eval=True)).eval()
    torch.testing.assert_close(drifting(x, branches), position)


def test_acceleration_passes_on_the_collided_velocity() -> None:
    chain = AccelerationChain(collision_heads=2, coll_coef=0.9, v0_scale=0.0)
    first, _second = chain(), chain()
    x, a = features(4, 16, dtype=torch.float64)
    first.draws.restart(3)
    first(x, a)
    first.draws.restart(3)
    drawn = first.draws.generator(x, a)
    draw_seed(drawn)  # v_0, here zero
    generator = torch.Generator().manual_seed(int(draw_seed(drawn)))
    # Where positions are not updated, x' - x = dt v'.
    expected = collide(x, a, collision_heads=2, coll_coef=0.9, position_update=False, generator=generator) - x
    torch.testing.assert_close(chain.handed_on[0], expected)
    assert not torch.allclose(expected, a)


def test_acceleration_starts_from_the_thermal_distribution() -> None:
    chain = AccelerationChain(collision_heads=2, coll_coef=0.0, v0_scale=2.0)
    module = chain()
    assert isinstance(module, Acceleration)
    a = 3 * torch.randn(20_000)
    velocity = module(torch.zeros_like(a), a) - a
    torch.testing.assert_close(velocity.std(), torch.tensor(6.0), rtol=0.05, atol=0)


def test_acceleration_restarts_when_the_shape_changes() -> None:
    chain = AccelerationChain(collision_heads=2, coll_coef=0.0, v0_scale=0.0)
    first, second = chain(), chain()
    first(torch.zeros(4, 8), torch.ones(4, 8))
    assert torch.equal(second(torch.zeros(4, 6), torch.ones(4, 6)), torch.ones(4, 6))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_backward_and_deepcopy(kind: str) -> None:
    from copy import deepcopy

    residual = deepcopy(KINDS[kind]())
    x, v = (t.requires_grad_() for t in features(3, 6, 8))
    residual(x, v).square().sum().backward()
    for gradient in (x.grad, v.grad):
        assert gradient is not None
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("kind", [KITIResidual, MatchedNoise, AccelerationChain])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"collision_heads": 0}, "collision_heads=0: a positive int"),
        ({"coll_coef": 1.5}, r"coll_coef=1.5: a number in \[0, 1\]"),
        ({"dt": float("inf")}, "dt=inf: a finite number"),
        ({"layout": "rows"}, "layout='rows': one of 'contiguous', 'strided'"),
        ({"implementation": "fast"}, "implementation='fast': one of 'auto'"),
        ({"pairing": "best"}, "pairing='best': one of 'accepted', 'random'"),
        ({"terms": "none"}, "terms='none': one of 'both', 'means', 'kicks'"),
    ],
)
def test_an_invalid_setting_is_rejected_at_construction(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"collision_heads": 2, "coll_coef": 0.5} | settings)


@pytest.mark.parametrize("kind", [KITIResidual, MatchedNoise, AccelerationChain])
def test_an_unknown_setting_is_rejected_at_construction(kind):
    with pytest.raises(TypeError, match="coll_cof"):
        kind(2, 0.5, coll_cof=0.5)
