"""Progress of a run: a bar on a terminal, occasional lines elsewhere, and `status.json` for the launcher."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Status:
    """`status.json`: {"state", "step", "total", "loss"}, replaced atomically, at most once a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0.0

    @property
    def due(self) -> bool:
        """Whether the last update is at least a second old."""
        return time.monotonic() - self._written >= 1.0

    def write(self, state: str, step: int = 0, total: int = 0, loss: float | None = None, force: bool = False) -> None:
        if not (force or self.due):
            return
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps({"state": state, "step": step, "total": total, "loss": loss}))
        os.replace(beside, self.path)
        self._written = time.monotonic()


class Progress(Callback):
    """One bar over all training steps."""

    LINES = 10  # without a terminal: number of lines for the whole training

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._next_line = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._status = Status(Path(trainer.default_root_dir) / "status.json")
        self._next_line = trainer.global_step / self._total(trainer)
        if trainer.is_global_zero and sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Bar(
                TextColumn("training"),
                *columns,
                TextColumn("{task.description}"),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total(trainer), completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_global_zero:
            return
        step, total = trainer.global_step, self._total(trainer)
        if self._status.due:  # reading the loss synchronises with the device
            self._status.write("training", step, total, float(outputs["loss"]))
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=f"epoch {trainer.current_epoch}")
        elif step / total >= self._next_line:
            self._next_line += 1 / self.LINES
            print(f"step {step} of {total}, epoch {trainer.current_epoch}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @staticmethod
    def _total(trainer: Trainer) -> int:
        return max(1, int(trainer.estimated_stepping_batches))
