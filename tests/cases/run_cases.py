"""Runs that are killed, and what must be equal after they resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file

from kiti.configuration.compose import Composed
from kiti.storage import records
from kiti.training import building
from kiti.training.callbacks.checkpointing import Checkpointing


class Killed(Exception):
    """Stands for SIGKILL: the trainer's clean-up must not matter, so what it writes is not read."""


class SaveAndKill(Callback):
    """Saves before step `save` (None: never) like Checkpointing, and dies in step `kill` after its backward pass."""

    def __init__(self, save: int | None, kill: int) -> None:
        self.save, self.kill = save, kill

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.save:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / Checkpointing.FILE)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.kill:
            raise Killed


def add_callback(monkeypatch: pytest.MonkeyPatch, callback: Callback) -> None:
    plain: Callable[[Composed], Trainer] = building.trainer

    def with_callback(composed: Composed) -> Trainer:
        trainer = plain(composed)
        trainer.callbacks.append(callback)
        return trainer

    monkeypatch.setattr(building, "trainer", with_callback)


def same_result(one: Path, other: Path) -> None:
    same_weights_and_metrics(one, other)
    first, second = records.read(one / "record.json"), records.read(other / "record.json")
    assert first.curves == second.curves


def same_weights_and_metrics(one: Path, other: Path) -> None:
    weights, others = load_file(one / "weights.safetensors"), load_file(other / "weights.safetensors")
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
    first, second = records.read(one / "record.json"), records.read(other / "record.json")
    assert first.metrics == second.metrics
    assert first.collisions == second.collisions
    assert first.ko == second.ko
