"""What training, recording and tables ask of data, wherever they lie."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from pytorch_lightning import LightningDataModule

from kiti.data.loading import Batch, EpochLoader


class Data(LightningDataModule):
    """Samples for training, for testing, and training samples once more to measure them.

    Batches are tuples of tensors, one row a sample.

    Args:
        batch_size: training samples per step over all ranks.
        eval_batch_size: the same for evaluation; changes no result.
        seed: key of the training order; none of the data depends on it.
    """

    stand_in: str | None = None
    """What the data stands in for, if it is not what the paper used."""

    def __init__(self, batch_size: int, eval_batch_size: int, seed: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed

    @property
    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What a record says of the data: sha256 of its `content`, of its `recipe` if it was computed, and its `split`,
        samples by name of the set."""

    def fingerprint_of(self, replica: int) -> dict[str, Any]:
        """The same for one of several seeds that are trained side by side; all see the same data, unless said here."""
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
