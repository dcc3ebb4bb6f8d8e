"""The interface of all data sets, as training, records and tables use it."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from pytorch_lightning import LightningDataModule
from torch import Tensor

from kiti.data.loading import Batch, EpochLoader


class Data(LightningDataModule):
    """Samples for training and testing, and training samples for measuring the training error.

    Batches are tuples of tensors, one row per sample.

    Args:
        batch_size: training samples per step over all ranks.
        eval_batch_size: the same for evaluation; does not affect results.
        seed: key of the training order; the data does not depend on it, unless a subclass says so.
    """

    stand_in: str | None = None
    """What the data replaces, if it is not what the paper used."""

    def __init__(self, batch_size: int, eval_batch_size: int, seed: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed

    @property
    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """The data's entry in a record: sha256 of its `content`, sha256 of its `recipe` if it was computed, and its
        `split`: number of samples by name of the set."""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers for a record: dropped rows, truncated items, how many rows a trivial predictor was given."""
        return {}

    def trivial_predictions(self) -> dict[str, tuple[Tensor, Tensor]]:
        """What predictors without a network say of the test samples, and the truth, by name of the predictor.

        They are fitted on the training samples alone, and draw no random numbers.
        """
        return {}

    def prepare_alone(self) -> None:
        """Work that takes long and needs no other rank; called before the ranks are connected."""

    def fingerprint_of(self, replica: int) -> dict[str, Any]:
        """The same for one of several seeds that are trained together; by default all see the same data."""
        return self.fingerprint

    @abstractmethod
    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches of this rank."""

    @abstractmethod
    def test_dataloader(self) -> Iterable[Batch]:
        """The test samples in order, each once over all ranks."""

    @abstractmethod
    def train_eval_dataloader(self) -> Iterable[Batch]:
        """Training samples in order, each once over all ranks: the training error, with the model in eval mode."""
