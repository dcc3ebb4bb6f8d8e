"""torchvision's ResNet with KITINet's seam in its last stage.

    block of the last stage:  h <- relu( residual(x = h or its projection, v = F(h)) )

KITI "in the last stage" (4.2 of the paper) is read as: the addition of every block there, the projected shortcut
included, is replaced, and the ReLU after it stays (spec A11). D is the channels, a system is one (sample, y, x)
(spec A2): channels are axis 1, so the factory passed in makes modules with `system_axis=1`:

    build_resnet(34, residual=partial(KITIResidual, 2, 0.25, system_axis=1))

The model is torchvision's own: its class, its `state_dict`, its initial weights for a given seed.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu
from torchvision.models import ResNet, get_model
from torchvision.models.resnet import BasicBlock, Bottleneck

from kiti.collision.rules import check_choice
from kiti.residual import Add, Residual, ResidualFactory

BLOCKS = ("all", "last", "identity")
STEMS = ("cifar", "imagenet")


class SeamBasicBlock(BasicBlock):
    """residual(x = shortcut, v = two 3x3 convolutions) where torchvision's block adds."""

    residual: Residual

    def forward(self, x: Float[Tensor, "B I Y X"]) -> Float[Tensor, "B O Yout Xout"]:
        v = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))  # (B, O, Yout, Xout)
        shortcut = x if self.downsample is None else self.downsample(x)
        return relu(self.residual(shortcut, v))  # not in place: it may be a view made by a collision


class SeamBottleneck(Bottleneck):
    """residual(x = shortcut, v = 1x1, 3x3, 1x1 convolutions) where torchvision's block adds."""

    residual: Residual

    def forward(self, x: Float[Tensor, "B I Y X"]) -> Float[Tensor, "B O Yout Xout"]:
        v = self.relu(self.bn1(self.conv1(x)))
        v = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(v)))))  # (B, O, Yout, Xout)
        shortcut = x if self.downsample is None else self.downsample(x)
        return relu(self.residual(shortcut, v))


def open_seam(model: ResNet, residual: ResidualFactory, blocks: str = "all") -> ResNet:
    """Let a stock ResNet, fresh or trained, join by `residual` in its last stage; the model itself is changed.

    Args:
        residual: makes the module of one block, called in the order in which they run. D lies on axis 1.
        blocks: "all" blocks of the last stage, its "last" one, or those whose shortcut is the "identity".

    Raises:
        ValueError: `blocks` is none of these.
    """
    check_choice("blocks", blocks, BLOCKS)
    for block in model.layer4[-1:] if blocks == "last" else model.layer4:
        if blocks != "identity" or block.downsample is None:
            # The block keeps its weights, hooks and flags; only its forward is another.
            block.__class__ = SeamBasicBlock if isinstance(block, BasicBlock) else SeamBottleneck
            block.residual = residual().train(block.training)
    return model


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
    residual: ResidualFactory = Add,
    **resnet: Any,
) -> ResNet:
    """Images (B, 3, Y, X) -> logits (B, num_classes), untrained.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem: "imagenet", torchvision's own, under which 32x32 pixels are 1x1 in the last stage; or "cifar", 3x3
            stride 1 and no max-pool, under which they are 4x4 (spec A12).
        blocks, residual: see `open_seam`.
        resnet: further arguments of `torchvision.models.ResNet`, as `zero_init_residual`.

    Raises:
        ValueError: a depth torchvision does not have, or `stem` or `blocks` is none of those named.
    """
    check_choice("stem", stem, STEMS)
    model: ResNet = get_model(f"resnet{depth}", weights=None, num_classes=num_classes, **resnet)
    if stem == "cifar":
        use_cifar_stem(model)
    return open_seam(model, residual, blocks)
