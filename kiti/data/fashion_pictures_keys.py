"""The keys of `data=fashion_pictures`."""

from typing import Literal

from pydantic import PositiveInt

from kiti.data.transformed_images_keys import TransformedImagesKeys
from kiti.units.sample_shapes import Sizes


class FashionPicturesKeys(TransformedImagesKeys):
    builds = "kiti.data.fashion_pictures.FashionPictures"
    name = "fashion_pictures"
    classes: Literal[10]
    n_train: PositiveInt
    n_test: PositiveInt
    held_out: bool = False

    @property
    def batches_per_epoch(self) -> int:
        """Without the last, partial batch."""
        return self.n_train // self.batch_size

    def sizes(self) -> Sizes:
        return Sizes(self.n_train, self.n_test, min(self.n_train, self.n_test), validates=True, drops_last=True)
