"""Sets of small images, held whole as bytes where the model is: no worker, no decoding, no copy in a step."""

import hashlib
from abc import abstractmethod

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from kiti.data.augmentation import CropAndFlip
from kiti.data.in_memory import InMemoryData
from kiti.data.loading import Batch, EvaluationLoader, Prepare, ResumableLoader, evaluation_loader, training_loader

Images = UInt8[Tensor, "_ 3 32 32"]
Labels = Int64[Tensor, "_"]
PADDING = 4  # pixels, of the crops of both papers


class SmallImages(InMemoryData):
    """Batches are (images, labels), float32 (B, 3, 32, 32) and int64 (B,).

    Images are normalised, each channel by the mean and standard deviation that it has over the training images. A
    subclass says in `read` where they come from. There is no validation set: the papers have none (P3).

    Args:
        classes: labels are 0 … classes - 1.
        n_train, n_test: the first so many of each set.
        augment: crop at random out of the image padded by 4, and flip half of them, in training.
        batch_size, seed: as for InMemoryData; what happens to an image is a function of (seed, epoch, image).
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
        """Training and test set, whole and verified. DataError where they are not to be had."""

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
        """The training images in order, once, as they are."""
        return evaluation_loader(
            self._there(self._data[0]), self.eval_batch_size, trainer=self.trainer, prepare=self._prepare
        )

    def test_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(
            self._there(self._data[1]), self.eval_batch_size, trainer=self.trainer, prepare=self._prepare
        )

    def val_dataloader(self) -> EvaluationLoader:
        """The test images after each epoch: both papers' "best" epoch is the best on them."""
        return self.test_dataloader()

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
        """On the device that trains."""
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
