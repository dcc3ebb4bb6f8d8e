"""The group `model`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.configuration.schema.datasets import Kind
from kiti.configuration.schema.nodes import Target

Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh", "xtanh", "x2tanh", "softplus"]

Stages = Annotated[list[PositiveInt], Field(min_length=4, max_length=4)]


class FNO(Target):
    width: PositiveInt
    modes: PositiveInt
    n_layers: PositiveInt
    hidden: PositiveInt
    resolution: PositiveInt | None = None  # of the data, which know it: neither hashed nor recorded twice


class FNO1d(FNO):
    target: Literal["kiti.models.fno.FNO1d"] = Field(alias="_target_")
    kind: ClassVar[Kind] = "pairs of functions"


class FNO2d(FNO):
    target: Literal["kiti.models.fno2d.FNO2d"] = Field(alias="_target_")
    t_in: PositiveInt
    kind: ClassVar[Kind] = "frames on a grid"


class OFormer(Target):
    target: Literal["kiti.models.oformer.OFormer"] = Field(alias="_target_")
    t_in: PositiveInt
    width: PositiveInt
    n_layers: PositiveInt
    points: PositiveInt
    propagator_seam: bool = False
    kind: ClassVar[Kind] = "flows on irregular points"

    @model_validator(mode="after")
    def _width_makes_angles(self) -> "OFormer":
        if self.width % 4:
            raise ValueError(f"width={self.width} is no multiple of 4: two axes, a sine and a cosine each")
        return self


class Chain(Target):
    target: Literal["kiti.models.chain.Chain"] = Field(alias="_target_")
    d_in: PositiveInt
    width: PositiveInt
    depth: NonNegativeInt
    activation: Activation
    init_std: PositiveFloat
    shortcut: bool
    seams: NonNegativeInt
    seed: NonNegativeInt
    replicas: PositiveInt
    kind: ClassVar[Kind] = "points of a function"

    @model_validator(mode="after")
    def _there_is_a_layer_a_seam(self) -> "Chain":
        if self.seams > self.depth:
            raise ValueError(f"seams={self.seams} is more than depth={self.depth}, the layers that keep their width")
        return self


class ResNet(Target):
    target: Literal["kiti.models.resnet.build_resnet"] = Field(alias="_target_")
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
    kind: ClassVar[Kind] = "images"

    @model_validator(mode="after")
    def _channels_are_enough_for_onednn(self) -> "ResNet":
        # torch 2.14.1 on a processor with AVX2: the backward of a 1x1 convolution of stride 2 corrupts memory.
        if self.channels_last and 64 * self.width < 8:
            raise ValueError(
                f"width={self.width} leaves {64 * self.width:g} channels, of which fewer than 8 crash torch's "
                "convolutions with channels_last=true; choose width=0.125 or more, or channels_last=false"
            )
        return self


class ConvNeXt(Target):
    target: Literal["kiti.models.convnext.build_convnext"] = Field(alias="_target_")
    size: Literal["tiny", "small"]
    num_classes: PositiveInt
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    layer_scale: PositiveFloat
    blocks: Literal["all", "last"]
    depths: Stages | None = None
    dims: Stages | None = None
    kind: ClassVar[Kind] = "images"


Model = Annotated[FNO1d | FNO2d | OFormer | Chain | ResNet | ConvNeXt, Field(discriminator="target")]
