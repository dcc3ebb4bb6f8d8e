"""A ResNet with the seam has torchvision's weights and gradients exactly; only the seam collides."""

from functools import partial

import pytest
import timm
import torch
import torchvision
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torchvision.models import ResNet

from kiti.configuration.locations import CONF
from kiti.models.resnet import build_resnet
from kiti.residual import Add, KITIResidual
from kiti.seams.opening import open_seam

COLLIDING = partial(KITIResidual, 8, 0.9, system_axis=1)
SMALL = {"num_classes": 10, "stem": "imagenet"}  # 32x32 pixels are 1x1 in the last stage
BOTH_BLOCKS = pytest.mark.parametrize("depth", [18, 50])
DEPTHS = pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])


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
    images = images.to(next(model.parameters()).dtype)
    torch.manual_seed(0)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        loss = nn.functional.cross_entropy(model.train()(images), labels)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {"loss": loss.detach(), **gradients, **dict(model.named_buffers())}


def seams(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, KITIResidual)]


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


@DEPTHS
def test_state_dict_keys_and_shapes_match_torchvision(depth: int) -> None:
    with torch.device("meta"):
        assert shapes(build_resnet(depth, **SMALL, residual=COLLIDING)) == shapes(stock(depth))


@DEPTHS
def test_parameter_counts_match_published_ones(depth: int) -> None:
    with torch.device("meta"):
        model = build_resnet(depth, num_classes=1000, stem="imagenet", residual=COLLIDING)
        assert shapes(model) == shapes(timm.create_model(f"resnet{depth}"))
    published = torchvision.models.get_model_weights(f"resnet{depth}").DEFAULT.meta["num_params"]
    assert sum(p.numel() for p in model.parameters()) == published


def test_initial_weights_match_torchvision() -> None:
    torch.manual_seed(0)
    expected = stock(18).state_dict()
    torch.manual_seed(0)
    actual = build_resnet(18, **SMALL, residual=COLLIDING).state_dict()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_the_cifar_stem_keeps_resolution_and_is_initialised_like_torchvision() -> None:
    model = build_resnet(18, residual=COLLIDING).eval()
    shapes: list[torch.Size] = []
    model.layer4.register_forward_hook(lambda _module, _inputs, out: shapes.append(out.shape))
    model(batch(1)[0])
    assert shapes == [(1, 512, 4, 4)]
    assert model.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("depth", "stem"), [(18, "cifar"), (18, "imagenet"), (50, "imagenet")])
def test_trained_weights_load_strictly_in_torchvision_and_timm_with_equal_outputs(depth: int, stem: str) -> None:
    model = build_resnet(depth, stem=stem, residual=COLLIDING)
    step(model)  # so that running statistics differ from the initial ones
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
def test_with_addition_a_training_step_matches_torchvision_bit_for_bit(depth: int, precision: torch.dtype) -> None:
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
        module.register_forward_hook(lambda _m, _i, out, name=name: outputs.update({name: out}), prepend=True)
        if isinstance(module, KITIResidual):
            module.register_forward_pre_hook(lambda _m, xv, name=name: joined.update({name: xv}))
    with torch.no_grad():
        model.train()(batch(2)[0])
    for i in range(len(model.layer4)):
        x, v = joined[f"{i}.residual"]
        assert x is outputs[f"{i - 1}" if i else "0.downsample.1"]
        assert v is outputs[f"{i}.{'bn2' if depth == 18 else 'bn3'}"]
        torch.testing.assert_close(outputs[f"{i}"], outputs[f"{i}.residual"].relu())


@BOTH_BLOCKS
def test_channels_last_memory_format(depth: int) -> None:
    found = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        model = build_resnet(depth, width=0.25, stem="imagenet", channels_last=channels_last, residual=COLLIDING)
        assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last) is channels_last
        found.append(step(model.double()))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("width", [1 / 64, 0.25, 2])
@BOTH_BLOCKS
def test_width_multiplies_only_channels(depth: int, width: float, stem: str) -> None:
    """Colours and classes may be fewer than 64, channels may not."""
    with torch.device("meta"):
        actual, expected = shapes(build_resnet(depth, stem=stem, width=width)), shapes(stock(depth, stem))
    scaled = {k: torch.Size(int(n * width) if n >= 64 else n for n in s) for k, s in expected.items()}
    assert actual == scaled


def test_a_narrow_network_is_initialised_like_torchvision_and_learns() -> None:
    model = build_resnet(18, **SMALL, width=0.25, residual=partial(KITIResidual, 2, 0.5, system_axis=1))
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.weight[0, 0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.15), name
    assert all(value.isfinite().all() for value in step(model).values())


def test_head_layers_follow_the_pooled_features() -> None:
    """KO's Figure 4: 1024-1024-10; all head weights are initialised small, none of the trunk's are."""
    torch.manual_seed(0)
    plain = build_resnet(18)
    torch.manual_seed(0)
    model = build_resnet(18, head=[1024, 1024], head_activation="xtanh", head_gamma=1.5)
    linear = {name: module for name, module in model.fc.named_modules() if isinstance(module, nn.Linear)}
    assert {name: tuple(m.weight.shape) for name, m in linear.items()} == {
        "0": (1024, 512),
        "2": (1024, 1024),
        "4": (10, 1024),
    }
    for module in linear.values():
        std = module.out_features**-1.5
        assert module.weight.std().item() == pytest.approx(std, rel=0.05)
        assert 0 < module.bias.abs().max() < 5 * std
    for name, value in plain.state_dict().items():
        assert name.startswith("fc.") or torch.equal(value, model.state_dict()[name]), name
    x = torch.randn(3, 512)
    by_hand = x
    for name, module in linear.items():
        by_hand = module(by_hand)
        by_hand = by_hand if name == "4" else by_hand * by_hand.tanh()
    assert torch.equal(model.fc(x), by_hand)


def test_a_single_layer_can_be_initialised_small_too() -> None:
    assert build_resnet(18, head_gamma=3.0).fc.weight.std().item() == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize(("depth", "width", "channels"), [(34, 1.0, 512), (18, 0.25, 128), (152, 0.5, 1024)])
def test_the_shipped_configuration_builds_and_knows_its_seam(depth: int, width: float, channels: int) -> None:
    node = OmegaConf.create({"data": {"classes": 10}, "model": OmegaConf.load(CONF / "model" / "resnet.yaml")})
    node.model.update(depth=depth, width=width)
    with torch.device("meta"):
        model = instantiate(node.model, residual=Add)
        assert model.fc.in_features == channels
        for axis in (1, -3):
            open_seam(model, residual=partial(KITIResidual, channels, 0.5, system_axis=axis))
            with pytest.raises(ValueError, match=f"collision_heads={2 * channels} does not divide D={channels}"):
                open_seam(model, residual=partial(KITIResidual, 2 * channels, 0.5, system_axis=axis))
        for axis in (0, -1):
            with pytest.raises(ValueError, match=f"system_axis={axis} is not a feature axis; choose from 1 or -3"):
                open_seam(model, residual=partial(KITIResidual, 1, 0.5, system_axis=axis))


def test_opening_the_seam_keeps_the_mode_and_warns() -> None:
    model = stock(18).eval()  # from_pretrained returns a model in eval mode
    with pytest.warns(UserWarning, match=r"eval mode.* call model.train\(\)"):
        open_seam(model, residual=COLLIDING)
    assert not any(module.training for module in model.modules())
    open_seam(model, residual=Add)  # and it can be opened again
    assert seams(model) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": "first"}, "blocks='first': one of 'all', 'last', 'identity' is needed"),
        ({"stem": "small"}, "stem='small': one of 'cifar', 'imagenet' is needed"),
        ({"depth": 20}, "depth=20: one of 18, 34, 50, 101, 152 is needed"),
        ({"width": 0.3}, "width=0.3: 64 times width must be a whole number of channels"),
        ({"width": 0.0}, "width=0.0: 64 times width must be a whole number of channels, at least 1"),
        ({"head_activation": "gelu"}, "head_activation='gelu': one of 'relu', "),
    ],
)
def test_an_invalid_choice_is_named(wrong: dict, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build_resnet(**wrong)
