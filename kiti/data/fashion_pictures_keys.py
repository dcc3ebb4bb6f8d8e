"""The keys of `data=fashion_pictures`."""

from typing import Literal

from pydantic import PositiveInt

from kiti.data.transformed_images_keys import TransformedImagesKeys


class FashionPicturesKeys(TransformedImagesKeys):
    builds = "kiti.data.fashion_pictures.FashionPictures"
    name = "fashion_pictures"
    classes: Literal[10]
    n_train: PositiveInt
    n_test: PositiveInt
    held_out: bool = False
