"""timm's ConvNeXt with KITINet's seam in its last stage.

    block of the last stage:  h <- residual(x = h, v = drop_path(gamma F(h)))

The velocity is what stock ConvNeXt adds, after layer scale and stochastic depth. D is the channels, and each
(sample, y, x) is a system (A2). Channels are axis 1, so the factory must create modules with `system_axis=1`.

The model keeps timm's class, `state_dict` and initial weights for a given seed.
"""

from collections.abc import Sequence
from typing import Any

import timm
from jaxtyping import Float
from timm.models.convnext import ConvNeXt, ConvNeXtBlock
from torch import Tensor

from kiti.collision.rules import check_choice
from kiti.models.seam import attach
from kiti.residual import Add, Residual, ResidualFactory

BLOCKS = ("all", "last")
SIZES = ("tiny", "small")


class SeamConvNeXtBlock(ConvNeXtBlock):
    """residual(x = shortcut, v = 7x7 depthwise convolution and MLP, scaled) in place of the addition."""

    residual: Residual

    def forward(self, x: Float[Tensor, "B I Y X"]) -> Float[Tensor, "B O Yout Xout"]:
        v = self.conv_dw(x)  # (B, O, Yout, Xout)
        if self.use_conv_mlp:
            v = self.mlp(self.norm(v))
        else:
            v = self.mlp(self.norm(v.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        if self.gamma is not None:
            v = v.mul(self.gamma.reshape(1, -1, 1, 1))
        return self.residual(self.shortcut(x), self.drop_path(v))


def open_seam(model: ConvNeXt, residual: ResidualFactory, blocks: str = "all") -> ConvNeXt:
    """Use `residual` in the last stage of a stock ConvNeXt, fresh or trained; modifies the model in place.

    Args:
        residual: called once per block, in execution order, to create its module. D is axis 1.
        blocks: "all" blocks of the last stage, or its "last" one.

    Raises:
        ValueError: `blocks` is neither, or collision_heads does not divide D.
    """
    check_choice("blocks", blocks, BLOCKS)
    last_stage: Any = model.stages[-1].blocks
    for block in last_stage[-1:] if blocks == "last" else last_stage:
        block.__class__ = SeamConvNeXtBlock  # keeps weights, hooks and flags; only forward changes
        block.residual = attach(residual(), 4, {1: model.num_features}).train(block.training)
    return model


def build_convnext(
    size: str = "tiny",
    num_classes: int = 1000,
    drop_path: float = 0.0,
    layer_scale: float = 1e-6,
    blocks: str = "all",
    depths: Sequence[int] | None = None,
    dims: Sequence[int] | None = None,
    residual: ResidualFactory = Add,
) -> ConvNeXt:
    """Images (B, 3, Y, X) -> logits (B, num_classes), untrained; Y and X are multiples of 32.

    Args:
        size: "tiny" or "small".
        drop_path: rate of stochastic depth in the last block; rates grow linearly from 0.
        layer_scale: initial gamma.
        depths, dims: blocks and channels of the four stages; None uses those of `size`.
        blocks, residual: see `open_seam`.

    Raises:
        ValueError: `size` or `blocks` is unknown.
    """
    check_choice("size", size, SIZES)
    stages: dict[str, Any] = {name: tuple(each) for name, each in (("depths", depths), ("dims", dims)) if each}
    model: Any = timm.create_model(
        f"convnext_{size}", num_classes=num_classes, drop_path_rate=drop_path, ls_init_value=layer_scale, **stages
    )
    return open_seam(model, residual, blocks)
