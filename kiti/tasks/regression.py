"""Regression on points, for many independent networks at once."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.models.chain import Chain
from kiti.tasks.global_batch import all_rows, mean_loss
from kiti.tasks.task import Task

Points = tuple[Tensor, Tensor]


class Regression(Task):
    """Minimises the sum of the replicas' mean squared errors, so that their gradients are independent.

    Logs `test/mse` and, for a second dataloader, `train/mse`, averaged over replicas; `of_replica` has the value of
    each replica, and `trivial/<predictor>_mse` of the data's `trivial_predictions`.
    """

    SETS = ("test", "train")  # the dataloaders of trainer.test, in this order
    model: Chain

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._of_batch = torch.zeros(len(self.of_replica))  # the loss of each replica
        self._errors: dict[str, list[Float[Tensor, "n R"]]] = {}

    def training_step(self, batch: Points, batch_idx: int) -> Tensor:
        x, y = batch
        errors = mean_loss((self.model(x) - y).square().mean(0), len(x))
        self.train_loss.update(errors.detach())
        self._of_batch = errors.detach()
        return errors.sum()

    def losses_to_watch(self, loss: Float[Tensor, ""]) -> Float[Tensor, "*R"]:
        return loss if self.replicas is None else self._of_batch

    def on_test_epoch_start(self) -> None:
        self._errors = {}

    def test_step(self, batch: Points, batch_idx: int, dataloader_idx: int = 0) -> None:
        x, y = batch
        self._errors.setdefault(self.SETS[dataloader_idx], []).append((self.model(x) - y).square())

    def on_test_epoch_end(self) -> None:
        for name, errors in self._errors.items():
            each = all_rows(torch.cat(errors)).mean(0).tolist()
            for metrics, error in zip(self.of_replica, each, strict=True):
                metrics[f"{name}/mse"] = error
            self.log(f"{name}/mse", sum(each) / len(each))
        self.record_trivial()

    def scores(self, prediction: Float[Tensor, "n R"], truth: Float[Tensor, "n R"]) -> list[dict[str, float]]:
        return [{"mse": error} for error in (prediction - truth).square().mean(0).tolist()]
