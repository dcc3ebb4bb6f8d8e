"""A ConvNeXt with the seam has timm's weights and gradients exactly; only the seam collides."""

from functools import partial
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from kiti.models.convnext import build_convnext
from kiti.residual import Add, KITIResidual
from kiti.seams.opening import open_seam

COLLIDING = partial(KITIResidual, 4, 0.9, system_axis=1)
SMALL: dict[str, Any] = {"depths": (1, 1, 1, 2), "dims": (8, 8, 16, 16)}


def build(**options: Any) -> nn.Module:
    return build_convnext(num_classes=10, layer_scale=0.5, **SMALL, **options)


def stock(drop_path: float = 0.0) -> nn.Module:
    return timm.create_model("convnext_tiny", num_classes=10, ls_init_value=0.5, drop_path_rate=drop_path, **SMALL)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(1)), torch.arange(6)


def step(model: nn.Module) -> dict[str, Tensor]:
    """Loss and gradients of one training step."""
    images, labels = batch()
    torch.manual_seed(0)
    loss = nn.functional.cross_entropy(model.train()(images), labels)
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}


def seams(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, KITIResidual)]


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_state_dict_and_stochastic_depth_match_timm(size: str) -> None:
    with torch.device("meta"):
        expected = timm.create_model(f"convnext_{size}", drop_path_rate=0.4)
        actual = build_convnext(size, drop_path=0.4, residual=COLLIDING)
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (actual, expected)]
    assert shapes[0] == shapes[1]
    rates = [[m.drop_prob for m in model.modules() if hasattr(m, "drop_prob")] for model in (actual, expected)]
    assert rates[0] == rates[1]
    assert rates[0][-1] == pytest.approx(0.4)


def test_initial_weights_match_timm() -> None:
    torch.manual_seed(0)
    expected = stock().state_dict()
    torch.manual_seed(0)
    actual = build(residual=COLLIDING).state_dict()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_trained_weights_load_strictly_in_timm_with_equal_outputs() -> None:
    model, other = build(residual=COLLIDING), stock()
    other.load_state_dict(model.state_dict(), strict=True)
    images, _ = batch()
    with torch.no_grad():
        assert torch.equal(other.eval()(images), model.eval()(images))


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_with_addition_a_training_step_matches_timm_bit_for_bit(drop_path: float) -> None:
    ours, theirs = build(drop_path=drop_path), stock(drop_path)
    ours.load_state_dict(theirs.state_dict())
    actual, expected = step(ours), step(theirs)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


@pytest.mark.parametrize(("blocks", "expected"), [("all", [0, 1]), ("last", [1])])
def test_only_the_named_blocks_of_the_last_stage_collide(blocks: str, expected: list[int]) -> None:
    model = build(blocks=blocks, residual=COLLIDING)
    assert seams(model) == [f"stages.3.blocks.{i}.residual" for i in expected]
    results = step(model)
    for name in seams(model):
        assert model.get_submodule(name).collisions.partners > 0, name
    for name, value in results.items():
        assert value.isfinite().all(), name


def test_the_seam_gets_shortcut_and_branch() -> None:
    """x is the block's input, v its scaled branch after stochastic depth."""
    model = build(drop_path=0.5, residual=COLLIDING).train()
    block = model.stages[-1].blocks[-1]
    seen: dict[str, Any] = {}
    block.register_forward_pre_hook(lambda _m, inputs: seen.update(x=inputs[0]))
    block.drop_path.register_forward_hook(lambda _m, inputs, out: seen.update(v=out), prepend=True)
    block.residual.register_forward_pre_hook(lambda _m, xv: seen.update(joined=xv))
    with torch.no_grad():
        model(batch()[0])
    x, v = seen["joined"]
    assert x is seen["x"]
    assert v is seen["v"]
    assert 0 < int((v == 0).flatten(1).all(1).sum()) < len(v), "some samples skip the branch, some do not"


def test_opening_the_seam_keeps_the_mode_and_warns() -> None:
    model = stock().eval()  # from_pretrained returns a model in eval mode
    with pytest.warns(UserWarning, match=r"eval mode.* call model.train\(\)"):
        open_seam(model, residual=COLLIDING)
    assert not any(module.training for module in model.modules())
    open_seam(model, residual=Add)  # and it can be opened again
    assert seams(model) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": "identity"}, "blocks='identity': one of 'all', 'last' is needed"),
        ({"size": "base"}, "size='base': one of 'tiny', 'small' is needed"),
    ],
)
def test_an_invalid_choice_is_named(wrong: dict, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build_convnext(**wrong)
