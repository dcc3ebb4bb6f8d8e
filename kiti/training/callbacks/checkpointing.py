"""Stopping a run at any time and resuming it exactly.

Checkpoints contain tensors and plain values only, are written atomically (`kiti.training.checkpoint_files`), and are
always taken between two steps of the optimizer, when no gradient is waiting to be used.
"""

import time
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from kiti.storage import stop_signals
from kiti.training.checkpoint_files import LAST


class Stopped(Exception):
    """Training was asked to stop, and has saved its state."""


class Checkpointing(Callback):
    """Saves `<default_root_dir>/last.ckpt` regularly, at the end, and before it stops on a signal (`stop_signals`).

    It saves at the start of a batch, when Lightning's counters say exactly which batches are done, and only where an
    accumulation window begins: gradients that are gathered inside a window are not saved. A signal that comes inside a
    window, or during validation, is heeded where the next window begins. In the test it ends the process at once.

    Args:
        every_seconds: time between two saves.
        keep: 2 keeps the checkpoint before the last one too, `previous.ckpt`; 1 needs half the space.
    """

    FILE = LAST

    def __init__(self, every_seconds: float, keep: int = 2) -> None:
        self.every_seconds = every_seconds
        self.keep = keep
        self._saved_at = 0.0
        self._asked_to_stop = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._asked_to_stop = False
        stop_signals.handle(self._ask_to_stop)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Lightning miscounts after a restart within an epoch, and would log other steps than an uninterrupted run.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
        # Windows begin anew with each epoch: Lightning steps on its last batch too.
        if batch_idx % trainer.accumulate_grad_batches:
            return
        stop = self._stop(trainer)
        # Rank 0's clock decides: saving is collective.
        due = trainer.strategy.broadcast(time.monotonic() - self._saved_at >= self.every_seconds)
        if stop or due:
            self._save(trainer)
        if stop:
            raise Stopped(f"stopped at step {trainer.global_step} and saved; the same command resumes from there")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)
        if self._stop(trainer):
            raise Stopped("stopped after the last step and saved; the same command goes on with the test")
        self._leave_at_once()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave_at_once()  # not only after training: a run that resumes after its last step trains no more

    @staticmethod
    def _leave_at_once() -> None:
        stop_signals.leave_at_once("stopped after training, which is saved; the same command goes on with the test")

    def _stop(self, trainer: Trainer) -> bool:
        """Whether any rank was asked to stop."""
        return trainer.strategy.reduce_boolean_decision(self._asked_to_stop, all=False)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / self.FILE, storage_options={"keep": self.keep})
        self._saved_at = time.monotonic()
