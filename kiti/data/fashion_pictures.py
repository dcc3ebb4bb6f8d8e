"""FashionMNIST through the transforms of ImageNet's recipes: a stand-in for ImageNet-1k."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from kiti.data import DataError
from kiti.data.fashion_mnist import FashionMNISTData
from kiti.data.image_source import ImageSource
from kiti.data.transformed_images import TransformedImages
from kiti.data.trivial.trivial_pictures import ROWS, class_scores


class PicturesInMemory(ImageSource):
    """Pictures kept as bytes.

    Args:
        pictures, labels: of each picture.
        classes: number of classes.
    """

    def __init__(self, pictures: UInt8[Tensor, "n 3 Y X"], labels: Int64[Tensor, "n"], classes: int) -> None:
        self.pictures = pictures.permute(0, 2, 3, 1).contiguous().numpy()  # (n, Y, X, 3)
        self.labels = labels.numpy().astype(np.int64)
        self.classes = classes

    def read(self, i: int) -> Image.Image:
        return Image.fromarray(self.pictures[i])

    def files(self) -> Iterator[Path]:
        return iter(())


class FashionPictures(TransformedImages):
    """Grey pictures of clothes, 32 x 32 with their frame, in 10 classes.

    Args:
        data_dir: contains the files of `data=fashion_mnist`.
        n_train, n_test: number of pictures, taken from the start of each set.
        held_out: test on the `n_test` training pictures after the first `n_train`, to choose a learning rate without
            the test set.
        images: as for TransformedImages.

    Raises:
        DataError: in `setup`, if the files are missing or damaged, or if there are fewer pictures.
    """

    stand_in = "FashionMNIST, 10 classes of grey pictures of clothes at 32 x 32, in place of ImageNet-1k"

    def __init__(self, data_dir: Path | str, n_train: int, n_test: int, held_out: bool = False, **images: Any) -> None:
        super().__init__(**images)
        self.data_dir = Path(data_dir)
        self.n_train = n_train
        self.n_test = n_test
        self.held_out = held_out

    def find(self) -> tuple[ImageSource, ImageSource]:
        stored = FashionMNISTData(
            self.classes, self.n_train, self.n_test, self.batch_size, False, str(self.data_dir), seed=self.seed
        )
        train, test = stored.read()
        if self.held_out:
            test = (train[0][self.n_train :], train[1][self.n_train :])
        for name, wanted, (pictures, _) in (("n_train", self.n_train, train), ("n_test", self.n_test, test)):
            if wanted > len(pictures):
                raise DataError(f"data.{name}={wanted}: FashionMNIST has {len(pictures)} pictures for that")
        return (
            PicturesInMemory(train[0][: self.n_train], train[1][: self.n_train], self.classes),
            PicturesInMemory(test[0][: self.n_test], test[1][: self.n_test], self.classes),
        )

    @property
    def counts(self) -> dict[str, int]:
        return {"logistic_regression_rows": min(self.n_train, ROWS)}

    def trivial_predictions(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Of the pictures as they are stored, without transforms."""
        (known, labels), (pictures, truth) = map(_tensors, self.sources)
        return {name: (scores, truth) for name, scores in class_scores((known, labels), pictures, self.classes).items()}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The content is that of the chosen pictures and labels."""
        content = hashlib.sha256()
        for source in self.sources:
            assert isinstance(source, PicturesInMemory)
            content.update(source.pictures.data)
            content.update(source.labels.data)
        return {"content": content.hexdigest(), "recipe": None, "split": self.split}


def _tensors(source: ImageSource) -> tuple[UInt8[Tensor, "n 3 Y X"], Int64[Tensor, "n"]]:
    assert isinstance(source, PicturesInMemory)
    return torch.from_numpy(source.pictures).permute(0, 3, 1, 2), torch.from_numpy(source.labels)
