"""Stopping a run at any time and resuming it exactly.

Checkpoints contain tensors and plain values only, are written atomically (`kiti.training.checkpoint_files`), and are
always taken between two steps.
"""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from kiti.training.checkpoint_files import LAST


class Stopped(Exception):
    """Training was stopped by `signal` and has saved its state."""

    def __init__(self, message: str, number: int | None) -> None:
        super().__init__(message)
        self.signal = number


class Checkpointing(Callback):
    """Saves `<default_root_dir>/last.ckpt` regularly, at the end, and before stopping on SIGTERM, SIGUSR1 or Ctrl-C.

    It saves at the start of a batch, when Lightning's counters say exactly which batches are done.

    Args:
        every_seconds: time between two saves.
        keep: 2 keeps the checkpoint before the last one too, `previous.ckpt`; 1 needs half the space.
    """

    FILE = LAST

    def __init__(self, every_seconds: float, keep: int = 2) -> None:
        self.every_seconds = every_seconds
        self.keep = keep
        self._saved_at = 0.0
        self._before: dict[int, Any] = {}
        self._asked_to_stop: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._asked_to_stop = None
        # Lightning's own handlers would stop without saving.
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            self._before[number] = signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = number

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        stop = trainer.strategy.reduce_boolean_decision(self._asked_to_stop is not None, all=False)
        # Rank 0's clock decides: saving is collective.
        due = trainer.strategy.broadcast(time.monotonic() - self._saved_at >= self.every_seconds)
        if stop or due:
            self._save(trainer)
        if stop:
            where = f"step {trainer.global_step}"
            raise Stopped(f"stopped at {where} and saved; the same command resumes from there", self._asked_to_stop)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / self.FILE, storage_options={"keep": self.keep})
        self._saved_at = time.monotonic()
