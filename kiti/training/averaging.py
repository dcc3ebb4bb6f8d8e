"""Averages of the weights over the training."""

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging


class ExponentialAverage(EMAWeightAveraging):
    """w_avg <- decay w_avg + (1 - decay) w after every step; what is evaluated, tested and kept is w_avg.

    Lightning's own, which begins at the weights after the first step; buffers are averaged too, as timm does.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning makes the average before it moves the module, and would fetch every step's weights from the device.
        assert self._average_model is not None
        self._average_model.to(pl_module.device)
