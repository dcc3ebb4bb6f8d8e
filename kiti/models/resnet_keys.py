"""The keys of `model=resnet`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from kiti.models.chain_keys import Activation
from kiti.units.keys import ModelKeys


class ResNetKeys(ModelKeys):
    builds = "kiti.models.resnet.build_resnet"
    name = "resnet"
    depth: Literal[18, 34, 50, 101, 152]
    num_classes: PositiveInt
    stem: Literal["cifar", "imagenet"]
    blocks: Literal["all", "last", "identity"]
    width: Annotated[PositiveFloat, Field(multiple_of=1 / 64)] = 1.0
    head: list[PositiveInt] = Field(default=[])
    head_activation: Activation = "relu"
    head_gamma: PositiveFloat | None = None
    zero_init_residual: bool = False
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dit_stage: Literal[1, 2, 3, 4] | None = None
    pixels: PositiveInt = 32
    channels_last: bool = False
    kind = "images"

    @model_validator(mode="after")
    def _channels_are_enough_for_onednn(self) -> "ResNetKeys":
        # torch 2.14.1 on a processor with AVX2: the backward of a 1x1 convolution of stride 2 corrupts memory.
        if self.channels_last and 64 * self.width < 8:
            raise ValueError(
                f"width={self.width} gives {64 * self.width:g} channels, and fewer than 8 crash torch's convolutions "
                "with channels_last=true; choose width=0.125 or more, or channels_last=false"
            )
        return self
