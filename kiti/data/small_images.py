"""Sets of small images, kept as bytes in the model's device memory: no workers, no decoding, no copy per step."""

import hashlib
from abc import abstractmethod

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from kiti.data.augmentation import CropAndFlip
from kiti.data.in_memory import InMemoryData
from kiti.data.loading import Batch, EvaluationLoader, Prepare, ResumableLoader, evaluation_loader, training_loader
from kiti.data.trivial.trivial_pictures import ROWS, class_scores

Images = UInt8[Tensor, "_ 3 32 32"]
Labels = Int64[Tensor, "_"]
PADDING = 4  # pixels, for the crops of both papers


class SmallImages(InMemoryData):
    """Batches are (images, labels), float32 (B, 3, 32, 32) and int64 (B,).

    Each channel is normalised by its mean and standard deviation over the training images. A subclass implements
    `read`. There is no validation set: the papers have none (P3).

    Args:
        classes: labels are 0 … classes - 1.
        n_train, n_test: number of images, taken from the start of each set.
        augment: in training, crop at random after padding by 4, and flip with probability 1/2.
        batch_size, seed: as for InMemoryData; the augmentation of an image depends only on (seed, epoch, image).
    """

    def __init__(
        self, classes: int, n_train: int, n_test: int, batch_size: int, augment: bool, data_dir: str, *, seed: int
    ) -> None:
        super().__init__(n_train, n_test, batch_size, eval_batch_size=500, seed=seed)
        self.classes = classes
        self.augment = augment
        self.data_dir = data_dir
        self._moments: Float[Tensor, "2 3 1 1"] | None = None

    @abstractmethod
    def read(self) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
        """The complete, verified training and test sets. DataError if they are not available."""

    def load(self) -> tuple[Batch, Batch, str]:
        train, test = self.read()
        content = hashlib.sha256()
        for tensor in (*train, *test):
            content.update(tensor.contiguous().numpy().data)
        self._moments = moments(train[0])
        chosen = [
            (images[:wanted].contiguous(), labels[:wanted].contiguous())
            for wanted, (images, labels) in ((self.n_train, train), (self.n_test, test))
        ]
        return chosen[0], chosen[1], content.hexdigest()

    def train_dataloader(self) -> ResumableLoader:
        augmentation = CropAndFlip(PADDING) if self.augment else None
        return training_loader(
            self._there(self._data[0]),
            self.batch_size,
            seed=self.seed,
            trainer=self.trainer,
            prepare=self._prepare,
            augmentation=augmentation,
        )

    def train_eval_dataloader(self) -> EvaluationLoader:
        """The training images in order, once, without augmentation."""
        return evaluation_loader(
            self._there(self._data[0]), self.eval_batch_size, trainer=self.trainer, prepare=self._prepare
        )

    def test_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(
            self._there(self._data[1]), self.eval_batch_size, trainer=self.trainer, prepare=self._prepare
        )

    @property
    def counts(self) -> dict[str, int]:
        return {"logistic_regression_rows": min(self.n_train, ROWS)}

    def trivial_predictions(self) -> dict[str, tuple[Tensor, Tensor]]:
        (known, own), (images, labels), _ = self._data
        return {name: (scores, labels) for name, scores in class_scores((known, own), images, self.classes).items()}

    def val_dataloader(self) -> EvaluationLoader:
        """The test images, after each epoch: both papers choose the "best" epoch on them."""
        return self.test_dataloader()

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over the training images, as parts of white."""
        self.setup()
        assert self._moments is not None
        mean, std = (self._moments.double() / 255).flatten(1).tolist()
        return mean, std

    @property
    def _prepare(self) -> Prepare:
        self.setup()
        assert self._moments is not None
        mean, std = self._moments

        def normalise(batch: Batch) -> Batch:
            images, labels = batch
            return (images.float() - mean.to(images.device)) / std.to(images.device), labels

        return normalise

    def _there(self, tensors: Batch) -> Batch:
        """Move the tensors to the training device."""
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        return tuple(tensor.to(device) for tensor in tensors)


def moments(images: UInt8[Tensor, "n C Y X"]) -> Float[Tensor, "2 C 1 1"]:
    """Mean and standard deviation of each channel over all images and pixels, in units of a byte."""
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    values = torch.arange(256, dtype=torch.float64)
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]).square()).sum(1)
    return torch.stack([mean, variance.sqrt()])[:, :, None, None].float()
