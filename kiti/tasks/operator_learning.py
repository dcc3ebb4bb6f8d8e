"""Learning a solution operator from pairs of functions on a grid: u(., 0) -> u(., 1)."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import MeanMetric, MeanSquaredError

from kiti.tasks.base import Task

Pair = tuple[Tensor, Tensor]


def relative_l2(prediction: Float[Tensor, "B *grid"], target: Float[Tensor, "B *grid"]) -> Float[Tensor, "B"]:
    """|prediction - target| / |target| in L2 over the grid, for each sample."""
    difference = (prediction - target).flatten(1).norm(dim=1)
    return difference / target.flatten(1).norm(dim=1)


class OperatorLearning(Task):
    """Minimises the relative L2 error summed over the batch, as the FNO authors' script does.

    Logs `test/relative_l2` (mean over samples) and `test/mse`; the same two under `train/` for a second dataloader,
    the training pairs with collisions off. KITINet prints "MSE" for what is most likely relative L2 (spec A16).
    """

    SETS = ("test", "train")  # the dataloaders of trainer.test, in this order

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        relative_l2 = [MeanMetric() for _ in self.SETS]
        mse = [MeanSquaredError() for _ in self.SETS]
        self.on_device = nn.ModuleList([*relative_l2, *mse])  # so that Lightning moves them with the model
        self.errors = list(zip(self.SETS, relative_l2, mse, strict=True))

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        u0, u1 = batch
        errors = relative_l2(self.model(u0), u1)
        self.train_loss.update(errors.detach())
        return errors.sum()

    def test_step(self, batch: Pair, batch_idx: int, dataloader_idx: int = 0) -> None:
        u0, u1 = batch
        prediction = self.model(u0)
        _name, relative, mse = self.errors[dataloader_idx]
        relative.update(relative_l2(prediction, u1))
        mse.update(prediction, u1)

    def on_test_epoch_end(self) -> None:
        for name, relative, mse in self.errors:
            if relative.update_called:
                self.log(f"{name}/relative_l2", relative.compute())
                self.log(f"{name}/mse", mse.compute())
            relative.reset()
            mse.reset()
