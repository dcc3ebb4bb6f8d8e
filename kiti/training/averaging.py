"""Averaging of the weights during training."""

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging


class ExponentialAverage(EMAWeightAveraging):
    """w_avg <- decay w_avg + (1 - decay) w after every step; w_avg is evaluated, tested and saved.

    Lightning's implementation. It starts from the weights after the first step and averages buffers too, as in timm.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning creates the average before it moves the module, and would copy weights from the device each step.
        assert self._average_model is not None
        self._average_model.to(pl_module.device)
