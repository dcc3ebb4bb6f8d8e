"""Quadratic neurons match the form on the outer product without computing it; a Dit-ResNet is otherwise a ResNet."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, relu
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kiti.models import dendrite
from kiti.models.dendrite import QuadraticNeurons, quadratic_forms
from kiti.models.resnet import build_resnet
from kiti.residual import KITIResidual
from kiti.seams.opening import open_seam


def outer_product_form(z: Tensor, weight: Tensor) -> Tensor:
    """The matrix times the outer product of the channels, literally; z: (C, P)."""
    return linear((z.T.unsqueeze(2) * z.T.unsqueeze(1)).flatten(1), weight).T


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("entries", [1, 100, 1 << 24])  # one output at a time, a few, or all
@pytest.mark.parametrize(("outputs", "channels", "positions"), [(7, 5, 12), (1, 3, 1), (4, 1, 6), (3, 4, 0)])
def test_value_and_gradients_match_the_literal_form(
    outputs: int, channels: int, positions: int, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dendrite, "_ENTRIES", entries)
    z, weight = random(channels, positions), random(outputs, channels**2, seed=1)
    cotangent = random(outputs, positions, seed=2).detach()
    expected, actual = outer_product_form(z, weight), quadratic_forms(z, weight)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    for found, wanted in zip(
        torch.autograd.grad(actual, (z, weight), cotangent),
        torch.autograd.grad(expected, (z, weight), cotangent),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that any operation returns."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [
            leaf.untyped_storage().nbytes() // leaf.itemsize for leaf in tree_leaves(result) if torch.is_tensor(leaf)
        ]
        self.entries = max([self.entries, *sizes])
        return result


def test_the_outer_product_is_never_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dendrite, "_ENTRIES", 1 << 14)
    channels, positions = 16, 4096
    z, weight = random(channels, positions), random(channels, channels**2, seed=1)
    with Largest() as literal:
        outer_product_form(z, weight).sum().backward()
    with Largest() as ours:
        quadratic_forms(z, weight).sum().backward()
    assert literal.entries >= positions * channels**2
    assert ours.entries == positions * channels  # z itself; a group of outputs has at most _ENTRIES entries


def test_autocast_lowers_the_precision_of_both_passes() -> None:
    z, weight = random(8, 50, dtype=torch.float32), random(4, 64, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        forms = quadratic_forms(z, weight)
    assert forms.dtype == torch.bfloat16
    torch.testing.assert_close(forms.float(), outer_product_form(z, weight), rtol=0.05, atol=0.5)
    forms.float().sum().backward()
    assert z.grad.dtype == weight.grad.dtype == torch.float32


@pytest.mark.parametrize("stride", [1, 2])
def test_each_position_uses_only_its_own_channels(stride: int) -> None:
    neurons = QuadraticNeurons(3, 2, (5, 4), stride).double()
    h = random(2, 3, 5, 4)
    assert not neurons(h).any()  # initially zero
    nn.init.normal_(neurons.weight)
    z, forms = layer_norm(h, (5, 4)), neurons(h)
    assert forms.shape == (2, 2, *z[0, 0, ::stride, ::stride].shape)
    for b, o, y, x in torch.cartesian_prod(*(torch.arange(n) for n in forms.shape)).tolist():
        at = z[b, :, y * stride, x * stride]
        torch.testing.assert_close(forms[b, o, y, x], at @ neurons.weight[o].view(3, 3) @ at)


@pytest.mark.parametrize(("depth", "stem"), [(18, "cifar"), (18, "imagenet"), (50, "cifar"), (50, "imagenet")])
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_quadratic_neurons_are_in_the_first_block_of_their_stage(depth: int, stem: str, stage: int) -> None:
    with torch.device("meta"):
        plain = build_resnet(depth, stem=stem)
        model = build_resnet(depth, stem=stem, dit_stage=stage, pixels=40)  # 40, 20, 10, 5, 3, 2
        model(torch.empty(2, 3, 40, 40))
    added = model.state_dict().keys() - plain.state_dict().keys()
    names = {"weight", "norm.weight", "norm.bias"}
    assert added == {f"layer{stage}.0.quadratic.{name}" for name in names}
    channels = 64 * 2 ** (stage - 1)
    assert model.get_parameter(f"layer{stage}.0.quadratic.weight").shape == (channels, channels**2)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_block_averages_convolution_and_quadratic_neurons(depth: int) -> None:
    torch.manual_seed(0)
    model = build_resnet(depth, width=1 / 8, dit_stage=4, pixels=32)
    block = model.layer4[0]
    nn.init.normal_(block.quadratic.weight, std=0.01)
    x = torch.randn(4, 32 if depth == 18 else 128, 8, 8).relu()
    shortcut = block.downsample(x)
    h = relu(block.bn1(block.conv1(x)))
    both = (block.bn2.forward(block.conv2.forward(h)) + block.quadratic(h)) / 2  # without the hooks
    v = both if depth == 18 else block.bn3.forward(block.conv3(relu(both)))
    assert torch.equal(block(x), relu(shortcut + v))


@pytest.mark.parametrize("depth", [18, 50])
def test_the_seam_and_quadratic_neurons_share_a_block(depth: int) -> None:
    def residual() -> KITIResidual:
        return KITIResidual(2, 0.7, system_axis=1)

    torch.manual_seed(0)
    plain = build_resnet(depth, width=1 / 8, residual=residual)
    torch.manual_seed(0)
    model = build_resnet(depth, width=1 / 8, dit_stage=4, residual=residual)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name  # zeros use no random numbers
    open_seam(model, residual=residual)  # again: the block keeps its neurons
    loss = model(torch.randn(4, 3, 32, 32)).square().mean()
    loss.backward()
    assert model.layer4[0].residual.collisions.partners > 0
    assert model.layer4[0].quadratic.weight.grad.any()


def test_an_unknown_stage_is_named() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="dit_stage=5: one of 1, 2, 3, 4 is needed"):
        build_resnet(dit_stage=5)
