"""ImageNet-1k, or any set of images in its layout, with timm's transforms."""

from pathlib import Path
from typing import Any

from kiti.collision.rules import check_choice
from kiti.data import DataError
from kiti.data.image_folder import ImageFolder
from kiti.data.image_parquet import ParquetShards, find_shards
from kiti.data.image_source import ImageSource, listing_sha256
from kiti.data.transformed_images import TransformedImages

FORMATS = {"folder": ("train", "val"), "parquet": ("train", "validation")}
"""The supported formats, and their names for training and test set."""
LAYOUTS = {
    "folder": "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG",
    "parquet": "Hugging Face's train-*.parquet and validation-*.parquet",
}


class ImageNetData(TransformedImages):
    """As in the papers, the test set is ImageNet's validation images.

    Args:
        path: for "folder", the folder with `train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, in the layout of
            torchvision.datasets.ImageFolder; for "parquet", the one with Hugging Face's `train-*.parquet` and
            `validation-*.parquet`.
        format: "folder" or "parquet". Both number the classes in the sorted order of their names.
        data_dir: where the Arrow copy of the shards is stored; it is as large as the shards.
        images: as for TransformedImages; `classes` is the expected number.

    Raises:
        ValueError: `format` is unknown.
        DataError: later, in `setup`, if the layout or the number of classes is different.
    """

    def __init__(self, path: Path | str, format: str, data_dir: Path | str, **images: Any) -> None:
        super().__init__(**images)
        check_choice("format", format, tuple(FORMATS))
        self.path = Path(path)
        self.format = format
        self.data_dir = Path(data_dir)

    def find(self) -> tuple[ImageSource, ImageSource]:
        """Find the images without reading them."""
        if not self.path.is_dir():
            raise DataError(
                f"{self.path} is missing: data.path is the folder of {LAYOUTS[self.format]}; kiti cannot download "
                "ImageNet-1k, which needs an account at image-net.org or Hugging Face"
            )
        train, test = FORMATS[self.format]
        return self._source(train), self._source(test)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The content is identified by the names and sizes of its files, see `listing_sha256`."""
        files = [file for source in self.sources for file in source.files()]
        return {"content": listing_sha256(self.path, files), "recipe": None, "split": self.split}

    def _source(self, split: str) -> ImageSource:
        if self.format == "folder":
            source: ImageSource = ImageFolder(self.path / split)
        else:
            source = ParquetShards(find_shards(self.path, split), self.data_dir / "arrow")
        if source.classes != self.classes:
            raise DataError(f"{self.path}: {split} has {source.classes} classes, data.classes={self.classes}")
        return source
