"""The keys of `data=imagenet`."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from kiti.units.keys import DataKeys, Fraction, NotRecorded, Place
from kiti.units.sample_shapes import Entry, Sample, Sizes

IMAGENET_1K = (1_281_167, 50_000)
"""Images to train on, and to validate on."""


class ImageNetKeys(DataKeys):
    builds = "kiti.data.imagenet.ImageNetData"
    name = "imagenet"
    path: Place[str]
    format: Literal["folder", "parquet"]
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
    def _jitter_is_read(self) -> "ImageNetKeys":
        if self.color_jitter and self.auto_augment:
            raise ValueError(f"color_jitter={self.color_jitter}: timm ignores it with auto_augment")
        return self

    def sample(self, training: bool) -> Sample:
        side = self.resolution if training else self.test_resolution
        return Entry((3, side, side)), Entry((), "int64")

    def sizes(self) -> Sizes:
        """Those of ImageNet-1k, or of the class folders that are there."""
        train, test = IMAGENET_1K
        if self.format == "folder" and Path(self.path).is_dir():
            train, test = (sum(map(_files, _folders(Path(self.path) / split))) for split in ("train", "val"))
        return Sizes(train, test, min(train, test), validates=True, drops_last=True)


def _folders(path: Path) -> list[str]:
    return [entry.path for entry in os.scandir(path) if entry.is_dir()] if path.is_dir() else []


def _files(folder: str) -> int:
    return sum(entry.is_file() for entry in os.scandir(folder))
