"""Logs ρ of chosen layers."""

from collections.abc import Sequence

from pytorch_lightning import Callback, LightningModule, Trainer

from kiti.neurons.condensation import filters, named_layers, weight_correlation


class CondensationMonitor(Callback):
    """Logs `rho/<layer>`, Eqs 17 and 18 of KITINet, when the trained model is tested.

    Args:
        layers: names within the model. An unknown name, or a layer without weights, is a ValueError before training.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = list(layers)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for layer in named_layers(pl_module.get_submodule("model"), self.layers, "callbacks.condensation.layers"):
            filters(layer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name in self.layers:
            pl_module.log(f"rho/{name}", weight_correlation(filters(pl_module.get_submodule(f"model.{name}"))))
