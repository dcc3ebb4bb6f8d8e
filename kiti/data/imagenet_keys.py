"""The keys of `data=imagenet`."""

import os
from pathlib import Path
from typing import Literal

from kiti.data.transformed_images_keys import TransformedImagesKeys
from kiti.units.keys import Place
from kiti.units.sample_shapes import Sizes

IMAGENET_1K = (1_281_167, 50_000)
"""Images to train on, and to validate on."""


class ImageNetKeys(TransformedImagesKeys):
    builds = "kiti.data.imagenet.ImageNetData"
    name = "imagenet"
    path: Place[str]
    format: Literal["folder", "parquet"]

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
