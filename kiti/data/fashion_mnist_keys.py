"""The keys of `data=fashion_mnist`."""

from typing import Literal

from kiti.data.small_images_keys import SmallImagesKeys


class FashionMNISTKeys(SmallImagesKeys):
    builds = "kiti.data.fashion_mnist.FashionMNISTData"
    name = "fashion_mnist"
    classes: Literal[10, 100]
