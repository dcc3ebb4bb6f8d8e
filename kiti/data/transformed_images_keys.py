"""The keys common to sets of images with timm's transforms."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.units.keys import DataKeys, Fraction, NotRecorded, Place
from kiti.units.sample_shapes import Entry, Sample


class TransformedImagesKeys(DataKeys):
    data_dir: Place[str]
    classes: PositiveInt
    resolution: PositiveInt
    test_resolution: PositiveInt
    scale: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    hflip: Fraction
    auto_augment: Annotated[str, Field(pattern="^rand(-|$)")] | None
    color_jitter: PositiveFloat | None
    re_prob: Fraction
    re_mode: Literal["const", "rand", "pixel"]
    crop_pct: Annotated[float, Field(gt=0, le=1)]
    interpolation: Literal["bilinear", "bicubic"]
    repeats: PositiveInt
    workers: NotRecorded[NonNegativeInt]
    eval_batch_size: NotRecorded[PositiveInt]
    kind = "images"

    @model_validator(mode="after")
    def _jitter_is_read(self) -> "TransformedImagesKeys":
        if self.color_jitter and self.auto_augment:
            raise ValueError(f"color_jitter={self.color_jitter}: timm ignores it with auto_augment")
        return self

    def sample(self, training: bool) -> Sample:
        side = self.resolution if training else self.test_resolution
        return Entry((3, side, side)), Entry((), "int64")
