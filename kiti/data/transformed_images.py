"""Sets of images, read one by one and transformed by timm as its recipes for ImageNet do."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from timm.data import create_transform

from kiti.data.data_module import Data
from kiti.data.image_loading import ImageEvaluationLoader, ImageLoader, Samples, Transform
from kiti.data.image_source import ImageSource
from kiti.data.loading import clock_of, of_ranks
from kiti.data.posterize import allow_no_bits


class TransformedImages(Data):
    """Batches (images (B, 3, resolution, resolution), labels (B,)), normalised by ImageNet's mean and deviation.

    As in the papers, the network is also evaluated on the test images after each epoch. The training error is measured
    on as many training images as there are test images, evenly spaced. A subclass implements `find`.

    Args:
        classes: number of classes.
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
    """

    def __init__(
        self,
        *,
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
        self.classes = classes
        self.repeats = repeats
        self.workers = workers
        self.augment: Transform = create_transform(
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
        allow_no_bits(self.augment)
        self.crop: Transform = create_transform(test_resolution, crop_pct=crop_pct, interpolation=interpolation)
        self._sources: tuple[ImageSource, ImageSource] | None = None

    @abstractmethod
    def find(self) -> tuple[ImageSource, ImageSource]:
        """The training and the test images. DataError if they are not available or not as expected."""

    def setup(self, stage: str | None = None) -> None:
        """Find the images."""
        if self._sources is None:
            self._sources = self.find()

    @property
    def sources(self) -> tuple[ImageSource, ImageSource]:
        """The training and the test images."""
        self.setup()
        assert self._sources is not None
        return self._sources

    @property
    def split(self) -> dict[str, int]:
        """The number of images in each set."""
        return dict(zip(("train", "test"), map(len, self.sources), strict=True))

    def train_dataloader(self) -> ImageLoader:
        samples = Samples(self.sources[0], self.augment, self.seed)
        ranks, clock = of_ranks(self.trainer), clock_of(self.trainer)
        reading: dict[str, Any] = {"repeats": self.repeats, "workers": self.workers}
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
