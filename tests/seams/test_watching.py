"""Nothing is silent: statistics, warnings, and residuals that wait for `calibrate`."""

import copy
import warnings
from functools import partial

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import kiti
from kiti.calibration.any_model import calibrate
from kiti.residual import KITIResidual
from kiti.seams.fitting import SeamError
from kiti.seams.opening import open_seam
from kiti.seams.watching import keep_statistics, statistics

X, V = torch.randn(2, 64, 8, generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NAMES = {"branch": "blocks.*.attn", "shortcut": "blocks.*.norm1"}


def vit(**options: float) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5, **options)
    return model.train()


def test_statistics_are_means_over_calls() -> None:
    residual = KITIResidual(2, 0.5)
    pairs, ratios = [], []
    for _ in range(3):
        residual(X, V)
        pairs.append(float(residual.collisions.partners) * 4 / 2)  # four particles
        ratios.append(float(residual.collisions.energy_ratio))
    [means] = statistics(residual, reset=True).values()
    assert means.calls == 3
    assert means.pairs == pytest.approx(sum(pairs) / 3)
    assert means.energy_ratio == pytest.approx(sum(ratios) / 3)
    assert statistics(residual)[""].calls == 0
    residual.eval()(X, V)
    assert statistics(residual)[""].calls == 0


def test_statistics_print_as_a_table() -> None:
    residual = KITIResidual(2, 0.0)
    residual(X, V)
    assert str(statistics(residual)).splitlines() == [
        "module   calls  pairs a system  energy ratio",
        "(model)  1      0               1",
    ]


def test_recomputation_does_not_count() -> None:
    residual = KITIResidual(2, 0.5)
    checkpoint(residual, X, V.clone().requires_grad_(), use_reentrant=False).sum().backward()
    assert statistics(residual)[""].calls == 1


def test_statistics_hold_no_graph_and_can_be_left_out() -> None:
    residual = KITIResidual(2, 0.5)
    residual(X, V.clone().requires_grad_())
    copy.deepcopy(residual)
    keep_statistics(residual, kept=False)
    residual(X, V)
    assert statistics(residual)[""].calls == 1


def test_a_model_that_cannot_collide_is_named() -> None:
    for ask in (statistics, keep_statistics, partial(calibrate, batch=X)):
        with pytest.raises(SeamError, match=r"nothing in Linear collides: see kiti\.open_seam"):
            ask(nn.Linear(8, 8))


def test_silence_is_warned_about_once_after_twenty_calls() -> None:
    """The example of the README on features of a LayerNorm: no pair is close enough."""
    residual = KITIResidual(8, 0.5)
    x, v = torch.randn(2, 10, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(19):
            residual(x, v)
    with pytest.warns(UserWarning, match=r"no pair collided in 20 training calls; raise coll_coef.*kiti\.calibrate"):
        residual(x, v)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(30):
            residual(x, v)


def test_energy_is_warned_about_once() -> None:
    residual = KITIResidual(1, 1.0)
    with pytest.warns(UserWarning, match="collisions multiply the kinetic energy by"):
        residual(X / 100, V)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        residual(X / 100, V)


def test_a_single_particle_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="a system has a single particle, so nothing can collide"):
        KITIResidual(8, 0.5)(X, V)


def test_an_uncalibrated_residual_raises_in_training_only() -> None:
    residual = KITIResidual()
    assert "not calibrated" in repr(residual)
    with pytest.raises(
        ValueError, match=r"call kiti\.calibrate\(model, batch\) before training, or pass both"
    ) as caught:
        residual(X, V)
    assert "\n" not in str(caught.value)
    assert torch.equal(residual.eval()(X, V), X + V)
    with pytest.raises(ValueError, match="collision_heads=4 and coll_coef=None: pass both, or neither"):
        KITIResidual(4)
    with pytest.raises(ValueError, match="layout='rows'"):
        KITIResidual(layout="rows")


@pytest.mark.parametrize("pairs", [0.5, 1, 4])
def test_calibration_gives_the_pairs_wanted(pairs: float) -> None:
    model = vit()
    open_seam(model, **NAMES, residual=KITIResidual)
    settings = calibrate(model, IMAGES, pairs=pairs)
    model(IMAGES)
    for name, means in statistics(model).items():
        assert means.pairs == pytest.approx(pairs, rel=0.5), name
        residual = model.get_submodule(name)
        assert (residual.rules.collision_heads, residual.rules.coll_coef) == settings[name][:2]
        assert settings[name].pairs == pytest.approx(pairs, rel=0.2)


def test_calibration_leaves_the_model_as_it_was() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm, self.dropout = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            return self.dropout(x + self.norm(self.convolution(x)))

    model = Network().eval()
    with pytest.warns(UserWarning, match="eval mode"):
        open_seam(model, branch="norm", shortcut="convolution")
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    calibrate(model, IMAGES)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    assert torch.equal(torch.get_rng_state(), random)
    assert statistics(model)["residual"].calls == 0


@pytest.mark.parametrize("batch", [{"x": IMAGES}, (IMAGES,), [IMAGES], IMAGES], ids=["dict", "tuple", "list", "tensor"])
def test_calibration_takes_what_the_model_takes(batch: object) -> None:
    model = vit()
    open_seam(model, **NAMES)
    assert len(calibrate(model, batch)) == 2


def test_calibration_refuses_what_cannot_be() -> None:
    model = vit()
    open_seam(model, **NAMES)
    with pytest.raises(SeamError, match="no coll_coef gives 100000 pairs a system with D=192"):
        calibrate(model, IMAGES, pairs=100000)
    with pytest.raises(SeamError, match="collision_heads=7 does not divide D=192"):
        calibrate(model, IMAGES, collision_heads=7)
    with pytest.raises(ValueError, match="pairs=0: a positive number"):
        calibrate(model, IMAGES, pairs=0)
    nn.init.zeros_(model.blocks[1].attn.proj.weight)
    with pytest.raises(SeamError, match=r"at blocks\.1\.attn \(blocks\.1\.residual\): v is zero"):
        calibrate(model, IMAGES)
    assert not model.blocks[0].residual.calibrated, "nothing is set if one fails"
    assert set(kiti.calibrate(vit_with(KITIResidual), IMAGES, collision_heads=4)["blocks.0.residual"][:1]) == {4}


def vit_with(residual: type[KITIResidual]) -> nn.Module:
    model = vit()
    open_seam(model, **NAMES, residual=residual)
    return model


def test_a_branch_that_is_not_what_the_model_adds_is_warned_about() -> None:
    model = vit(init_values=0.1)
    open_seam(model, **NAMES)
    with pytest.warns(UserWarning, match=r"at blocks\.0\.attn \(and 1 more\): torch was not seen adding"):
        calibrate(model, IMAGES)
    model = vit(init_values=0.1)
    open_seam(model, branch="blocks.*.ls1", shortcut="blocks.*.norm1", system_axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate(model, IMAGES)
