"""Learning a solution operator from pairs of functions on a grid: u(., 0) -> u(., 1), or frame after frame."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import MeanSquaredError

from kiti.tasks.global_batch import sum_loss
from kiti.tasks.mean import Mean
from kiti.tasks.task import Task

Pair = tuple[Tensor, Tensor]


def relative_l2(prediction: Float[Tensor, "B *grid"], target: Float[Tensor, "B *grid"]) -> Float[Tensor, "B"]:
    """|prediction - target| / |target| in L2 over the grid, for each sample."""
    difference = (prediction - target).flatten(1).norm(dim=1)
    return difference / target.flatten(1).norm(dim=1)


class OperatorLearning(Task):
    """Minimises the relative L2 error summed over the batch, as the FNO authors' script does.

    Logs `test/relative_l2` (mean over samples) and `test/mse`; the same two under `train/` for a second dataloader,
    the training pairs with collisions off. KITINet prints "MSE" for what is most likely relative L2 (A16). Beside them
    stand `trivial/<predictor>_relative_l2` and `_mse` of the data's `trivial_predictions`.
    """

    SETS = ("test", "train")  # the dataloaders of trainer.test, in this order

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        relative_l2 = [Mean() for _ in self.SETS]
        mse = [MeanSquaredError() for _ in self.SETS]
        self.on_device = nn.ModuleList([*relative_l2, *mse])  # so that Lightning moves them with the model
        self.errors = list(zip(self.SETS, relative_l2, mse, strict=True))

    def predict(self, given: Tensor, target: Tensor) -> Tensor:
        """The prediction that is compared with `target`."""
        return self.model(given)

    def keep_example(self, prediction: Tensor, target: Tensor) -> None:
        """Called with the first test batch; subclasses may keep its first sample for a picture."""

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        given, target = batch
        errors = relative_l2(self.predict(given, target), target)
        self.train_loss.update(errors.detach())
        return sum_loss(errors.sum())

    def test_step(self, batch: Pair, batch_idx: int, dataloader_idx: int = 0) -> None:
        given, target = batch
        prediction = self.predict(given, target)
        if (dataloader_idx, batch_idx) == (0, 0):
            self.keep_example(prediction, target)
        _name, relative, mse = self.errors[dataloader_idx]
        relative.update(relative_l2(prediction, target))
        mse.update(prediction, target)

    def on_test_epoch_end(self) -> None:
        for name, relative, mse in self.errors:
            if relative.update_called:
                self.log(f"{name}/relative_l2", relative.compute())
                self.log(f"{name}/mse", mse.compute())
            relative.reset()
            mse.reset()
        self.record_trivial()

    def scores(self, prediction: Tensor, truth: Tensor) -> list[dict[str, float]]:
        relative, mse = relative_l2(prediction, truth).mean(), (prediction - truth).square().mean()
        return [{"relative_l2": float(relative), "mse": float(mse)}]


class OperatorRollout(OperatorLearning):
    """The model predicts one frame at a time, and its predictions are fed back until all target frames are predicted.

    Training does the same, as in the FNO authors' script: the loss is the relative L2 error of each frame, summed over
    frames and batch; `train/loss` is its mean. The logged errors are those of all frames of a sample together.
    """

    def predict(self, given: Float[Tensor, "B T *grid"], target: Float[Tensor, "B U *grid"]) -> Tensor:
        frames = given
        predicted = []
        for _ in range(target.shape[1]):
            predicted.append(self.model(frames))  # (B, *grid)
            frames = torch.cat([frames[:, 1:], predicted[-1].unsqueeze(1)], dim=1)
        return torch.stack(predicted, dim=1)

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        given, target = batch
        errors = relative_l2(self.predict(given, target).flatten(0, 1), target.flatten(0, 1))
        self.train_loss.update(errors.detach())
        return sum_loss(errors.sum())

    def keep_example(self, prediction: Float[Tensor, "B U *grid"], target: Float[Tensor, "B U *grid"]) -> None:
        self.example = {"prediction": prediction[0, -1].cpu(), "target": target[0, -1].cpu()}
