"""The cost of training: seconds and samples."""

import time
from datetime import UTC, datetime
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class Cost(Callback):
    """The start time of training, and its seconds and samples (over all ranks), summed over resumed runs."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.samples = 0
        self._earlier = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        return self._earlier + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch[0]) * trainer.world_size

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._earlier, self._since = self.seconds, None

    def state_dict(self) -> dict[str, Any]:
        return {"started": self.started, "seconds": self.seconds, "samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.started, self._earlier, self.samples = state["started"], state["seconds"], state["samples"]
