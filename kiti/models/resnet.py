"""torchvision's ResNet with KITINet's seam in its last stage.

    block of the last stage:  h <- relu( residual(x = h or its projection, v = F(h)) )

KITI "in the last stage" (4.2 of the paper) is read as replacing the addition of every block there, including the one
with a projected shortcut; the ReLU after it stays (A11). D is the channels, and each (sample, y, x) is a system (A2).

    build_resnet(34, residual=partial(KITIResidual, 2, 0.25))

The model is torchvision's own, with hooks (`kiti.open_seam`). timm's `resnet18`, `resnet34`, …
(`timm.models.resnet.ResNet`) load the same `state_dict`. This does not hold for narrower networks (`width`), hidden
layers before the classes (`head`) or quadratic neurons (`dit_stage`).
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

from kiti.collision.rules import check_choice
from kiti.models.chain import ACTIVATIONS
from kiti.models.dendrite import QuadraticNeurons
from kiti.models.stochastic_depth import drop_branches
from kiti.residual import Add, ResidualFactory
from kiti.seams.families import known_places
from kiti.seams.opening import open_places

BLOCKS = ("all", "last", "identity")
STEMS = ("cifar", "imagenet")
STAGES: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
    152: (Bottleneck, [3, 8, 36, 3]),
}
"""By depth: the type of block, and the number of blocks in each stage."""


def grow_dendrites(model: ResNet, stage: int, stem: str, pixels: int) -> None:
    """Add quadratic neurons parallel to `conv2` in the first block of `stage`: (bn2(conv2(h)) + quadratic(h)) / 2.

    The Dit authors do this in the middle one of their three stages of basic blocks (A14). They have no Bottleneck;
    its `conv2` is the 3x3 convolution too, and using quadratic neurons of its stride there is our reading.
    """
    block = model.get_submodule(f"layer{stage}")[0]  # type: ignore[index]
    conv = block.conv2
    reduction = {"cifar": 1, "imagenet": 4}[stem] * 2 ** (stage - 1) // conv.stride[0]  # of the input of conv2
    side = ceil(pixels / reduction)
    block.quadratic = QuadraticNeurons(conv.in_channels, conv.out_channels, (side, side), conv.stride[0])
    Dendrites(block.quadratic).open(conv, block.bn2)


class Dendrites:
    """The hooks that add quadratic neurons to a convolution and its norm."""

    def __init__(self, quadratic: QuadraticNeurons) -> None:
        self.quadratic = quadratic
        self._inputs: list[Tensor] = []

    def open(self, convolution: nn.Module, norm: nn.Module) -> None:
        convolution.register_forward_pre_hook(self._keep)
        norm.register_forward_hook(self._add)

    def _keep(self, convolution: nn.Module, inputs: tuple[Tensor]) -> None:
        self._inputs[:] = inputs

    def _add(self, norm: nn.Module, inputs: Any, output: Float[Tensor, "B O Y X"]) -> Float[Tensor, "B O Y X"]:
        return (output + self.quadratic(self._inputs.pop())) / 2


class ScaledResNet(ResNet):
    """torchvision's ResNet, its channels multiplied by `width` in the stem and in every stage."""

    def __init__(
        self, block: type[BasicBlock | Bottleneck], layers: list[int], width: float, num_classes: int, **resnet: Any
    ) -> None:
        channels = 64 * width
        if not (channels >= 1 and float(channels).is_integer()):
            raise ValueError(f"width={width}: 64 times width must be a whole number of channels, at least 1")
        self.width = width  # before the base __init__, which creates the layers
        super().__init__(block, layers, num_classes, **resnet)
        self.fc = nn.Linear(self.inplanes, num_classes)

    def _make_layer(
        self,
        block: type[BasicBlock | Bottleneck],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        if planes == 64:  # the first stage: the stem is not initialised yet
            self.inplanes = int(planes * self.width)
            self.conv1 = nn.Conv2d(3, self.inplanes, kernel_size=7, stride=2, padding=3, bias=False)
            self.bn1 = self._norm_layer(self.inplanes)
        return super()._make_layer(block, int(planes * self.width), blocks, stride, dilate)


class Pointwise(nn.Module):
    """One of `ACTIVATIONS` as a module."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](x)

    def extra_repr(self) -> str:
        return self.activation


def build_head(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers from size to size, named "0", "2", "4", …, with activations between them."""
    layers: list[nn.Module] = []
    for d_in, d_out in pairwise(sizes):
        layers += [nn.Linear(d_in, d_out), Pointwise(activation)]
    return nn.Sequential(*layers[:-1])


def use_cifar_stem(model: ResNet) -> None:
    """Replace 7x7 stride 2 and max-pool by 3x3 stride 1, initialised as torchvision does."""
    model.conv1 = nn.Conv2d(3, model.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()  # type: ignore[assignment]


def build_resnet(
    depth: int = 18,
    num_classes: int = 10,
    stem: str = "cifar",
    blocks: str = "all",
    width: float = 1.0,
    head: Sequence[int] = (),
    head_activation: str = "relu",
    head_gamma: float | None = None,
    zero_init_residual: bool = False,
    drop_path: float = 0.0,
    dit_stage: int | None = None,
    pixels: int = 32,
    channels_last: bool = False,
    residual: ResidualFactory = Add,
    **resnet: Any,
) -> ResNet:
    """Images (B, 3, Y, X) -> logits (B, num_classes), untrained.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem: "imagenet", torchvision's own, where 32x32 pixels become 1x1 in the last stage; or "cifar", 3x3 stride 1
            and no max-pool, where they become 4x4 (A12).
        width: channels of the stem and all stages, relative to torchvision's.
        head: sizes of hidden layers between the pooled features and the logits; `fc` is then a sequence with linear
            layers fc.0, fc.2, …, otherwise torchvision's single layer. KO's Figure 4 has [1024, 1024].
        head_activation: between these layers, one of `ACTIVATIONS`.
        head_gamma: weights and biases of a layer of `fc` with m neurons are drawn from N(0, m^-2γ) with this γ; None
            keeps PyTorch's initialisation.
        zero_init_residual: torchvision's option; every branch starts at zero, as in timm.
        drop_path: stochastic depth, see `kiti.models.stochastic_depth`.
        dit_stage: the stage, 1 to 4, whose first block gets quadratic neurons, as in Dit-ResNets; None for none. Their
            matrix, `layer<dit_stage>.0.quadratic.weight`, has C³ entries, 134 million in stage 4 at width 1. It starts
            at zero and learns ten times faster than the rest (`lr_multipliers` of a task).
        pixels: Y and X of the images, used only for `dit_stage`. Neurons that see a single position, as in stage 4 with
            basic blocks and the ImageNet stem at 32 pixels, see only their LayerNorm's shift.
        channels_last: memory format of the weights, and so of the features: results differ only by rounding, and
            convolutions are faster on most devices.
        blocks: "all" blocks of the last stage, its "last" one, or those whose shortcut is the "identity".
        residual: called once per such block, in execution order, to create its module. D is axis 1.
        resnet: further arguments of `torchvision.models.ResNet`, such as `groups`.

    Raises:
        ValueError: torchvision has no such depth, the number of channels is not whole, `drop_path` is not a
            probability below 1, or `stem`, `blocks`, `head_activation` or `dit_stage` is unknown.
    """
    check_choice("stem", stem, STEMS)
    check_choice("blocks", blocks, BLOCKS)
    check_choice("head_activation", head_activation, tuple(ACTIVATIONS))
    if depth not in STAGES:
        raise ValueError(f"depth={depth}: one of {', '.join(map(str, STAGES))} is needed")
    if dit_stage not in (None, 1, 2, 3, 4):
        raise ValueError(f"dit_stage={dit_stage}: one of 1, 2, 3, 4 is needed")
    block, layers = STAGES[depth]
    resnet["zero_init_residual"] = zero_init_residual
    if width == 1:
        model = ResNet(block, layers, num_classes, **resnet)
    else:
        model = ScaledResNet(block, layers, width, num_classes, **resnet)
    if stem == "cifar":
        use_cifar_stem(model)
    if head:
        model.fc = build_head([model.fc.in_features, *head, num_classes], head_activation)  # type: ignore[assignment]
    if head_gamma is not None:
        for parameter in model.fc.parameters():
            nn.init.normal_(parameter, std=len(parameter) ** -head_gamma)
    drop_branches(model, drop_path)
    if dit_stage is not None:
        grow_dendrites(model, dit_stage, stem, pixels)
    places = known_places(model)  # after all other hooks: a seam gets what they return
    chosen = {"all": places, "last": places[-1:], "identity": [place for place in places if not place.of_output]}
    open_places(model, chosen[blocks], residual)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
