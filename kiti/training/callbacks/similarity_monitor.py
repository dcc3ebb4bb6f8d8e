"""Monitors the cosines between the neurons of chosen layers: snapshots for heatmaps, curves for KO's Figure 3."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from kiti.neurons.condensation import named_layers
from kiti.neurons.similarity import cosine_matrix, mean_cosine, most_alike, neurons, reordered, summary, thumbnail

_PICTURE_DTYPE = torch.float16  # precise enough for a picture


class SimilarityMonitor(Callback):
    """Records the cosines of neurons with their biases appended (A40), and saves them in checkpoints.

    Args:
        layers: names within the model. An unknown name, or a layer without weights, is a ValueError before training.
        snapshots: epochs after which all cosines are kept, and for each replica the metrics `<what>/<layer>@<epoch>`
            with what: rho, share_alike, clusters, effective_rank, most_alike (`kiti.neurons.similarity.summary`).
        each_epoch: log `rho/<layer>` and `most_alike/<layer>` after every epoch, averaged over replicas, and keep the
            metrics `rho/<layer>@<epoch>` and `most_alike/<layer>@<epoch>` of each: KO's Figure 3.
    """

    def __init__(self, layers: Sequence[str], snapshots: Sequence[int], each_epoch: bool) -> None:
        self.layers = list(layers)
        self.snapshots = sorted(snapshots)
        self.each_epoch = each_epoch
        self._kept: dict[str, Float[Tensor, "R N D"]] = {}  # neurons by <layer>@<epoch>
        self._curves: dict[str, Tensor] = {}  # (R,) by <what>/<layer>@<epoch>

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for layer in named_layers(pl_module.get_submodule("model"), self.layers, "callbacks.similarity.layers"):
            neurons(layer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if not (self.each_epoch or epoch in self.snapshots):
            return
        logged: dict[str, float] = {}
        for name in self.layers:
            rows = neurons(pl_module.get_submodule(f"model.{name}"))
            if epoch in self.snapshots:
                self._kept[f"{name}@{epoch}"] = rows.cpu().clone()
            if self.each_epoch:
                cosines = cosine_matrix(rows)
                for what, measure in (("rho", mean_cosine), ("most_alike", most_alike)):
                    each = measure(cosines).cpu()
                    self._curves[f"{what}/{name}@{epoch}"] = each
                    logged[f"{what}/{name}"] = float(each.mean())
        if logged:
            for logger in trainer.loggers:  # `pl_module.log` takes longer than computing all the cosines
                logger.log_metrics(logged, step=trainer.global_step)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        of_replica: list[dict[str, float]] = pl_module.of_replica  # type: ignore[assignment]  # of kiti.tasks.task.Task
        for name, each_replica in self._curves.items():
            for metrics, value in zip(of_replica, each_replica.tolist(), strict=True):
                metrics[name] = value
        for name, rows in self._kept.items():
            for metrics, each in zip(of_replica, summary(rows), strict=True):
                metrics |= {f"{what}/{name}": value for what, value in each.items()}

    def heatmaps(self, replica: int) -> dict[str, Tensor]:
        """The cosines of one replica's neurons for drawing, in the order of KO B.1, by <layer>@<epoch>."""
        kept = ((name, cosine_matrix(rows[replica])) for name, rows in self._kept.items())
        return {name: thumbnail(reordered(cosines)).to(_PICTURE_DTYPE) for name, cosines in kept}

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self._kept, "curves": self._curves}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._kept = dict(state["kept"])
        self._curves = dict(state["curves"])
