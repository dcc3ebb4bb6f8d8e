"""The keys of `data=cifar`."""

from typing import Literal

from kiti.data.small_images_keys import SmallImagesKeys


class CIFARKeys(SmallImagesKeys):
    builds = "kiti.data.cifar.CIFARData"
    name = "cifar"
    classes: Literal[10, 100]
