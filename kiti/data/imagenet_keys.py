"""The keys of `data=imagenet`."""

from typing import Literal

from kiti.data.transformed_images_keys import TransformedImagesKeys
from kiti.units.keys import Place


class ImageNetKeys(TransformedImagesKeys):
    builds = "kiti.data.imagenet.ImageNetData"
    name = "imagenet"
    path: Place[str]
    format: Literal["folder", "parquet"]
