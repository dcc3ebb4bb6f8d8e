"""Gradients accumulate over as many batches as configured, or the run does not start."""

from pytorch_lightning import Callback, LightningModule, Trainer

from kiti.configuration.explain import ConfigError
from kiti.configuration.schema import too_long_for_an_epoch


class Accumulation(Callback):
    """Raises ConfigError before the first step if `accumulate_grad_batches` is longer than an epoch.

    The schema knows this earlier for data that are kept in memory.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = trainer.num_training_batches
        if trainer.accumulate_grad_batches > batches:
            raise ConfigError(too_long_for_an_epoch(trainer.accumulate_grad_batches, batches))
