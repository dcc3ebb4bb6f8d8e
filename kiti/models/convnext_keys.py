"""The keys of `model=convnext`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from kiti.units.keys import ModelKeys

Stages = Annotated[list[PositiveInt], Field(min_length=4, max_length=4)]


class ConvNeXtKeys(ModelKeys):
    builds = "kiti.models.convnext.build_convnext"
    name = "convnext"
    size: Literal["tiny", "small"]
    num_classes: PositiveInt
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    layer_scale: PositiveFloat
    blocks: Literal["all", "last"]
    depths: Stages | None = None
    dims: Stages | None = None
    kind = "images"
