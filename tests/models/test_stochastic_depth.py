"""Stochastic depth in torchvision's ResNet makes the same draws as timm."""

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from kiti.models.resnet import build_resnet
from kiti.models.stochastic_depth import drop_branches


def step(model: nn.Module) -> dict[str, Tensor]:
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    loss = model.train()(images).square().mean()
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}


@pytest.mark.parametrize("depth", [18, 50])
def test_a_training_step_matches_timm(depth: int) -> None:
    theirs = timm.create_model(f"resnet{depth}", num_classes=10, drop_path_rate=0.5, zero_init_last=False)
    ours = build_resnet(depth, 10, "imagenet", drop_path=0.5)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    without = get_model(f"resnet{depth}", num_classes=10)
    without.load_state_dict(theirs.state_dict())
    actual, expected = step(ours), step(theirs)
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name
    assert not torch.equal(actual["loss"], step(without)["loss"])


def test_inference_drops_nothing() -> None:
    model, images = get_model("resnet18", num_classes=10).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(images)
        assert torch.equal(drop_branches(model, 0.9)(images), before)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_an_invalid_rate_is_named(rate: float) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=f"drop_path={rate}: a probability below 1 is needed"):
        drop_branches(get_model("resnet18"), rate)
