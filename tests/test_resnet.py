"""A ResNet with the seam is torchvision's, weight for weight and gradient for gradient; only the seam collides."""

from functools import partial

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import ResNet

from kiti.models.resnet import build_resnet, open_seam
from kiti.residual import Add, KITIResidual

COLLIDING = partial(KITIResidual, 8, 0.9, system_axis=1)
SMALL = {"num_classes": 10, "stem": "imagenet"}  # 32x32 pixels are 1x1 in the last stage
BOTH_BLOCKS = pytest.mark.parametrize("depth", [18, 50])


def batch(size: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 3, 32, 32, generator=generator), torch.arange(size)


def stock(depth: int, stem: str = "imagenet") -> ResNet:
    """As a user would write it, without kiti."""
    model = torchvision.models.get_model(f"resnet{depth}", num_classes=10)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model


def step(model: nn.Module, precision: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Loss, gradients and running statistics of one training step."""
    images, labels = batch()
    torch.manual_seed(0)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        loss = nn.functional.cross_entropy(model.train()(images), labels)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {"loss": loss.detach(), **gradients, **dict(model.named_buffers())}


def seams(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, KITIResidual)]


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_state_dict_keys_and_shapes_are_torchvisions(depth: int) -> None:
    with torch.device("meta"):
        expected = stock(depth).state_dict()
        actual = build_resnet(depth, **SMALL, residual=COLLIDING).state_dict()
    assert {k: v.shape for k, v in actual.items()} == {k: v.shape for k, v in expected.items()}


def test_initial_weights_are_torchvisions() -> None:
    torch.manual_seed(0)
    expected = stock(18).state_dict()
    torch.manual_seed(0)
    actual = build_resnet(18, **SMALL, residual=COLLIDING).state_dict()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_the_cifar_stem_keeps_the_pixels_and_is_initialised_as_torchvisions_convolutions() -> None:
    model = build_resnet(18, residual=COLLIDING).eval()
    shapes: list[torch.Size] = []
    model.layer4.register_forward_hook(lambda _module, _inputs, out: shapes.append(out.shape))
    model(batch(1)[0])
    assert shapes == [(1, 512, 4, 4)]
    assert model.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("depth", "stem"), [(18, "cifar"), (18, "imagenet"), (50, "imagenet")])
def test_trained_weights_are_strictly_loaded_by_torchvision_and_timm_and_infer_alike(depth: int, stem: str) -> None:
    model = build_resnet(depth, stem=stem, residual=COLLIDING)
    step(model)  # so that running statistics are not the initial ones
    elsewhere = timm.create_model(f"resnet{depth}", num_classes=10)
    if stem == "cifar":
        elsewhere.conv1, elsewhere.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    images, _ = batch()
    with torch.no_grad():
        logits = model.eval()(images)
        for other in stock(depth, stem), elsewhere:
            other.load_state_dict(model.state_dict(), strict=True)
            assert torch.equal(other.eval()(images), logits)
        back = build_resnet(depth, stem=stem, residual=COLLIDING)
        back.load_state_dict(elsewhere.state_dict(), strict=True)
        assert torch.equal(back.eval()(images), logits)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@BOTH_BLOCKS
def test_with_addition_a_training_step_is_torchvisions_bit_for_bit(depth: int, precision: torch.dtype) -> None:
    ours, theirs = build_resnet(depth, **SMALL), stock(depth)
    ours.load_state_dict(theirs.state_dict())
    actual, expected = step(ours, precision), step(theirs, precision)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


@pytest.mark.parametrize(
    ("depth", "blocks", "expected"),
    [
        (18, "all", [0, 1]),
        (18, "last", [1]),
        (18, "identity", [1]),
        (50, "all", [0, 1, 2]),
        (50, "last", [2]),
        (50, "identity", [1, 2]),
    ],
)
def test_only_the_named_blocks_of_the_last_stage_collide(depth: int, blocks: str, expected: list[int]) -> None:
    model = build_resnet(depth, **SMALL, blocks=blocks, residual=COLLIDING)
    assert seams(model) == [f"layer4.{i}.residual" for i in expected]
    results = step(model)
    for name in seams(model):
        assert model.get_submodule(name).collisions.partners > 0, name
    for name, value in results.items():
        assert value.isfinite().all(), name


@BOTH_BLOCKS
def test_the_seam_gets_shortcut_and_branch(depth: int) -> None:
    """x is the block's input or its projection, v what the last batch norm returns; the ReLU comes after."""
    model = build_resnet(depth, residual=COLLIDING)
    outputs: dict[str, Tensor] = {}
    joined: dict[str, tuple[Tensor, ...]] = {}
    for name, module in model.layer4.named_modules():
        module.register_forward_hook(lambda _m, _i, out, name=name: outputs.update({name: out}))
        if isinstance(module, KITIResidual):
            module.register_forward_pre_hook(lambda _m, xv, name=name: joined.update({name: xv}))
    with torch.no_grad():
        model.train()(batch(2)[0])
    for i in range(len(model.layer4)):
        x, v = joined[f"{i}.residual"]
        assert x is outputs[f"{i - 1}" if i else "0.downsample.1"]
        assert v is outputs[f"{i}.{'bn2' if depth == 18 else 'bn3'}"]
        assert torch.equal(outputs[f"{i}"], outputs[f"{i}.residual"].relu())


def test_opening_the_seam_keeps_the_mode() -> None:
    model = open_seam(stock(18).eval(), COLLIDING)
    assert not any(module.training for module in model.modules())
    assert seams(open_seam(model, Add)) == []  # and it may be opened again


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": "first"}, "blocks='first': one of 'all', 'last', 'identity' is needed"),
        ({"stem": "small"}, "stem='small': one of 'cifar', 'imagenet' is needed"),
        ({"depth": 20}, "resnet20"),
    ],
)
def test_a_wrong_choice_is_named(wrong: dict, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build_resnet(**wrong)
