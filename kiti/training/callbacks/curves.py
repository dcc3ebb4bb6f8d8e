"""Keeps every logged metric at a few dozen steps, so that training curves can be drawn from a record alone."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger

from kiti.storage.records import Curve
from kiti.training.callbacks.throughput import MFU, TOKENS_PER_SECOND

POINTS = 50  # of a curve in a record
_MOST = 20 * POINTS  # in memory
_LEFT_OUT = {"epoch", TOKENS_PER_SECOND, MFU}  # by the clock a resumed run would have other curves than one in a piece


class Curves(Callback):
    """Collects what is logged during training; saved in checkpoints, so that a resumed run has complete curves.

    Attributes:
        logger: to be passed to the trainer.
    """

    def __init__(self) -> None:
        self.logger = _Memory()

    def curves(self) -> dict[str, Curve]:
        """By metric: at most `POINTS` points from the first to the last step, evenly spaced among the logged ones."""
        return {name: _thinned(kept["points"]) for name, kept in sorted(self.logger.kept.items())}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.logger.trainer = trainer

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.logger.closed = True

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.logger.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.logger.kept = state["kept"]


class _Memory(Logger):
    """The points (step, value) of each metric. To limit memory, every second one is dropped when there are many."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, dict[str, Any]] = {}
        self.closed = False
        self.trainer: Trainer | None = None

    @property
    def name(self) -> str:
        return "curves"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.trainer is not None:
            step = self.trainer.global_step  # Lightning's own count is one less after a stop within an epoch
        for name, value in metrics.items():
            if name not in _LEFT_OUT and step is not None and not self.closed:
                self._keep(self.kept.setdefault(name, {"points": [], "every": 1, "seen": 0}), step, float(value))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        pass

    @staticmethod
    def _keep(kept: dict[str, Any], step: int, value: float) -> None:
        if kept["seen"] % kept["every"] == 0:
            kept["points"].append((step, value))
        kept["seen"] += 1
        if len(kept["points"]) > _MOST:
            kept["points"] = kept["points"][::2]
            kept["every"] *= 2


def _thinned(points: list[tuple[int, float]]) -> Curve:
    chosen = np.unique(np.linspace(0, len(points) - 1, min(POINTS, len(points))).round().astype(int))
    # Six digits draw a curve; seventeen would make the committed records twice as large.
    return Curve([points[at][0] for at in chosen], [float(f"{points[at][1]:.6g}") for at in chosen])
