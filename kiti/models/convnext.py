"""timm's ConvNeXt with KITINet's seam in its last stage.

    block of the last stage:  h <- residual(x = h, v = drop_path(gamma F(h)))

The velocity is what stock ConvNeXt adds, after layer scale and stochastic depth. D is the channels, and each
(sample, y, x) is a system (A2). The model is timm's own, with hooks (`kiti.open_seam`).
"""

from collections.abc import Sequence
from typing import Any

import timm
from timm.models.convnext import ConvNeXt

from kiti.collision.rules import check_choice
from kiti.residual import Add, ResidualFactory
from kiti.seams.families import known_places
from kiti.seams.opening import open_places

BLOCKS = ("all", "last")
SIZES = ("tiny", "small")


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
        blocks: "all" blocks of the last stage, or its "last" one.
        residual: called once per block, in execution order, to create its module. D is axis 1.

    Raises:
        ValueError: `size` or `blocks` is unknown, or collision_heads does not divide D.
    """
    check_choice("size", size, SIZES)
    check_choice("blocks", blocks, BLOCKS)
    stages: dict[str, Any] = {name: tuple(each) for name, each in (("depths", depths), ("dims", dims)) if each}
    model: Any = timm.create_model(
        f"convnext_{size}", num_classes=num_classes, drop_path_rate=drop_path, ls_init_value=layer_scale, **stages
    )
    places = known_places(model)
    open_places(model, places[-1:] if blocks == "last" else places, residual)
    return model  # type: ignore[no-any-return]
