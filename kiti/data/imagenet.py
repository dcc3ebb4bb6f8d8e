"""ImageNet-1k, or any set of images in its layout, with timm's transforms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from timm.data import create_transform

from kiti.collision.rules import check_choice
from kiti.data import DataError
from kiti.data.data_module import Data
from kiti.data.image_folder import ImageFolder
from kiti.data.image_loading import ImageEvaluationLoader, ImageLoader, Samples, Transform
from kiti.data.image_parquet import ParquetShards, find_shards
from kiti.data.image_source import ImageSource, listing_sha256
from kiti.data.loading import clock_of, of_ranks
from kiti.data.posterize import mend_posterize

FORMATS = {"folder": ("train", "val"), "parquet": ("train", "validation")}
"""The supported formats, and their names for training and test set."""
LAYOUTS = {
    "folder": "train/<wnid>/*.JPEG and val/<wnid>/*.JPEG",
    "parquet": "Hugging Face's train-*.parquet and validation-*.parquet",
}


class ImageNetData(Data):
    """Batches (images (B, 3, resolution, resolution), labels (B,)), normalised by ImageNet's mean and deviation.

    As in the papers, the test set is ImageNet's validation images. The training error is measured on as many training
    images as there are test images, evenly spaced, hence equally many of each class in a folder.

    Args:
        path: for "folder", the folder with `train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, in the layout of
            torchvision.datasets.ImageFolder; for "parquet", the one with Hugging Face's `train-*.parquet` and
            `validation-*.parquet`.
        format: "folder" or "parquet". Both number the classes in the sorted order of their names.
        data_dir: where the Arrow copy of the shards is stored; it is as large as the shards.
        classes: expected number of classes.
        resolution, test_resolution: side length in pixels, in training and in testing.
        scale: range (min, max) of a random crop's area relative to the image's.
        hflip: probability of a horizontal flip.
        auto_augment: timm's RandAugment string, such as rand-m7-mstd0.5-inc1; None: no RandAugment.
        color_jitter: strength of timm's jitter, which timm ignores with `auto_augment`; None: no jitter.
        re_prob, re_mode: probability and fill mode of random erasing.
        crop_pct: side of a test image's centre crop, relative to the shorter side of the resized image.
        interpolation: used for all resizing.
        repeats: repeated augmentation, see ImageLoader.
        workers: processes per loader; does not affect results.
        batch_size, eval_batch_size, seed: as for Data. `seed` also keys the augmentation.

    Raises:
        ValueError: `format` is unknown.
        DataError: later, in `setup`, if the layout or the number of classes is different.
    """

    def __init__(
        self,
        path: Path | str,
        format: str,
        data_dir: Path | str,
        classes: int,
        resolution: int,
        test_resolution: int,
        scale: Sequence[float],
        hflip: float,
        auto_augment: str | None,
        color_jitter: float | None,
        re_prob: float,
        re_mode: str,
        crop_pct: float,
        interpolation: str,
        repeats: int,
        workers: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        check_choice("format", format, tuple(FORMATS))
        self.path = Path(path)
        self.format = format
        self.data_dir = Path(data_dir)
        self.classes = classes
        self.repeats = repeats
        self.workers = workers
        self.augment: Transform = mend_posterize(
            create_transform(
                resolution,
                is_training=True,
                scale=(scale[0], scale[1]),
                hflip=hflip,
                auto_augment=auto_augment,
                color_jitter=color_jitter,  # type: ignore[arg-type]  # timm accepts None
                re_prob=re_prob,
                re_mode=re_mode,
                interpolation=interpolation,
            )
        )
        self.crop: Transform = create_transform(test_resolution, crop_pct=crop_pct, interpolation=interpolation)
        self._sources: list[ImageSource] | None = None

    def setup(self, stage: str | None = None) -> None:
        """Find the images without reading them."""
        if not self.path.is_dir():
            raise DataError(
                f"{self.path} is missing: data.path is the folder of {LAYOUTS[self.format]}; kiti cannot download "
                "ImageNet-1k, which needs an account at image-net.org or Hugging Face"
            )
        if self._sources is None:
            sources = [self._source(split) for split in FORMATS[self.format]]
            for split, source in zip(FORMATS[self.format], sources, strict=True):
                if source.classes != self.classes:
                    raise DataError(f"{self.path}: {split} has {source.classes} classes, data.classes={self.classes}")
            self._sources = sources

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The content is identified by the names and sizes of its files, see `listing_sha256`."""
        files = [file for source in self.sources for file in source.files()]
        split = dict(zip(("train", "test"), map(len, self.sources), strict=True))
        return {"content": listing_sha256(self.path, files), "recipe": None, "split": split}

    @property
    def sources(self) -> list[ImageSource]:
        """The training and the test images."""
        self.setup()
        assert self._sources is not None
        return self._sources

    def train_dataloader(self) -> ImageLoader:
        samples = Samples(self.sources[0], self.augment, self.seed)
        ranks, clock = of_ranks(self.trainer), clock_of(self.trainer)
        reading = {"repeats": self.repeats, "workers": self.workers}
        return ImageLoader(samples, self.batch_size, seed=self.seed, clock=clock, **reading, **ranks)

    def test_dataloader(self) -> ImageEvaluationLoader:
        return self._evaluation(self.sources[1])

    def val_dataloader(self) -> ImageEvaluationLoader:
        """The test images after each epoch."""
        return self.test_dataloader()

    def train_eval_dataloader(self) -> ImageEvaluationLoader:
        n_train, n_test = map(len, self.sources)
        some = torch.arange(min(n_train, n_test)) * n_train // min(n_train, n_test)
        return self._evaluation(self.sources[0], some)

    def _evaluation(self, source: ImageSource, which: torch.Tensor | None = None) -> ImageEvaluationLoader:
        samples, ranks = Samples(source, self.crop, self.seed), of_ranks(self.trainer)
        return ImageEvaluationLoader(samples, self.eval_batch_size, which=which, workers=self.workers, **ranks)

    def _source(self, split: str) -> ImageSource:
        if self.format == "folder":
            return ImageFolder(self.path / split)
        return ParquetShards(find_shards(self.path, split), self.data_dir / "arrow")
