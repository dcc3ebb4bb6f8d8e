"""Image classification."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from kiti.tasks.global_batch import mean_loss
from kiti.tasks.mean import Mean
from kiti.tasks.task import Task

Labelled = tuple[Float[Tensor, "B C Y X"], Int64[Tensor, "B"]]


def known(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, or nan for all if the cross-entropy is: nan logits have a largest one, and so an accuracy."""
    if not found:
        return found
    lost = found["cross_entropy"].isnan()
    return {name: torch.where(lost, found["cross_entropy"], value) for name, value in found.items()}


class Accuracy(nn.Module):
    """Top-1 and top-5 accuracy in percent, and the mean cross-entropy; all are nan if some logits are."""

    def __init__(self) -> None:
        super().__init__()
        self.means = {name: Mean() for name in ("accuracy", "top5", "cross_entropy")}
        self.on_device = nn.ModuleList(self.means.values())  # so that they are moved with the module

    def update(self, logits: Float[Tensor, "B classes"], labels: Int64[Tensor, "B"]) -> None:
        for name, values in _of_images(logits, labels).items():
            self.means[name].update(values)

    def compute(self) -> dict[str, Tensor]:
        """Return the means over all ranks and reset them; empty without data."""
        found = {name: mean.compute() for name, mean in self.means.items() if mean.update_called}
        for mean in self.means.values():
            mean.reset()
        return known(found)


def _of_images(logits: Float[Tensor, "B classes"], labels: Int64[Tensor, "B"]) -> dict[str, Float[Tensor, "B"]]:
    likely = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return {
        "accuracy": 100.0 * likely[:, 0],
        "top5": 100.0 * likely.any(1),
        "cross_entropy": functional.cross_entropy(logits.float(), labels, reduction="none"),
    }


class Classification(Task):
    """Minimises the cross-entropy of the logits (B, classes) that the model gives for images.

    Logs `accuracy` (%), `top5` (%) and `cross_entropy`: under `val/` after each epoch if the data have a validation
    set, under `test/` for the final network, and under `train/` for a second dataloader. Both papers validate on the
    test set and do not say whether they print the last epoch or the best. So the record also has `test/best_accuracy`,
    `test/best_epoch` (from 1), and `accuracy/test@<epoch>` for each epoch. Beside them stand
    `trivial/<predictor>_accuracy`, `_top5` and `_cross_entropy` of the data's `trivial_predictions`, which are logits.

    Args:
        label_smoothing: share of the target that is spread evenly over all classes in training.
    """

    SETS = ("test", "train")  # the dataloaders of trainer.test, in this order

    def __init__(self, *args: Any, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_smoothing = label_smoothing
        self.measured = {name: Accuracy() for name in ("val", *self.SETS)}
        self.on_device = nn.ModuleList(self.measured.values())  # so that Lightning moves them with the model
        self.accuracy_by_epoch: list[float] = []

    def training_step(self, batch: Labelled, batch_idx: int) -> Tensor:
        images, labels = batch
        losses = functional.cross_entropy(
            self.model(images), labels, label_smoothing=self.label_smoothing, reduction="none"
        )
        self.train_loss.update(losses.detach())
        return mean_loss(losses.mean(), len(losses))

    def validation_step(self, batch: Labelled, batch_idx: int) -> None:
        self._measure("val", batch)

    def test_step(self, batch: Labelled, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._measure(self.SETS[dataloader_idx], batch)

    def on_validation_epoch_end(self) -> None:
        found = self._log_metrics("val")
        self.accuracy_by_epoch.append(float(found["accuracy"]))

    def on_test_epoch_end(self) -> None:
        for name in self.SETS:
            self._log_metrics(name)
        if self.accuracy_by_epoch:
            best = float(np.max(self.accuracy_by_epoch))  # nan if one is
            self.of_replica[0] |= {
                "test/best_accuracy": best,
                "test/best_epoch": float(np.argmax(self.accuracy_by_epoch)) + 1,
                **{f"accuracy/test@{epoch}": value for epoch, value in enumerate(self.accuracy_by_epoch, start=1)},
            }
        self.record_trivial()

    def scores(self, prediction: Tensor, truth: Tensor) -> list[dict[str, float]]:
        return [{name: float(values.mean()) for name, values in _of_images(prediction, truth).items()}]

    def _measure(self, name: str, batch: Labelled) -> None:
        images, labels = batch
        self.measured[name].update(self.model(images), labels)

    def _log_metrics(self, name: str) -> dict[str, Tensor]:
        found = self.measured[name].compute()
        self.log_dict({f"{name}/{what}": value for what, value in found.items()})
        return found

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["accuracy_by_epoch"] = list(self.accuracy_by_epoch)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.accuracy_by_epoch = list(checkpoint["accuracy_by_epoch"])
