"""A run that is asked to stop, wherever it is and however often, resumes to the bits of an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import text_sets
import torch
from fake_images import fake_cifar
from pytorch_lightning import Callback, LightningModule, Trainer
from run_cases import add_callback, same_result

from kiti.cli.train_command import train
from kiti.configuration.compose import Composed, compose
from kiti.storage import records
from kiti.storage.exit_status import ExitStatus
from kiti.training.callbacks.checkpointing import Checkpointing

ROOT = Path(__file__).parents[2]
NEVER = "callbacks.checkpointing.every_seconds=1e9"


class AskToStop(Callback):
    """Asks, as a signal does, during a micro-batch, counted from 0 over all epochs; or before the first one (-1)."""

    def __init__(self, during: int) -> None:
        self.during = during

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.during == -1:
            self._ask(trainer)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop = trainer.fit_loop.epoch_loop
        if trainer.current_epoch * int(trainer.num_training_batches) + loop.batch_idx == self.during:
            self._ask(trainer)

    @staticmethod
    def _ask(trainer: Trainer) -> None:
        [checkpointing] = [c for c in trainer.callbacks if isinstance(c, Checkpointing)]  # type: ignore[attr-defined]
        checkpointing._ask_to_stop(signal.SIGTERM, None)


class LogEachStep(Callback):
    """Logs within an epoch, as a plug-in may, so that the curves show which steps are logged."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        pl_module.log("each/loss", outputs["loss"], on_step=True, on_epoch=False)


def stopped(composed: Composed, during: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        add_callback(patch, AskToStop(during))
        with pytest.raises(SystemExit) as end:
            train(composed)
    assert end.value.code == ExitStatus.STOPPED
    assert not (composed.run_dir / records.FILE_NAME).exists()


def burgers(place: Path, *overrides: str) -> Composed:
    small = ["experiment=burgers", "scale=smoke", "data.batch_size=4", "data.n_test=8", NEVER]
    return compose([*small, f"runs_dir={place}/runs", f"data_dir={place.parent}/data", *overrides])


@pytest.mark.parametrize("window", [1, 2, 5])
def test_stopped_several_times_it_ends_on_the_same_bits(
    window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7 batches an epoch, so that the last window of an epoch is shorter; two stops in one epoch, one in the next."""
    switches = ("data.n_train=28", "residual=kiti", "collision=hard", "collision.coll_coef=0.9")
    add_callback(monkeypatch, LogEachStep())
    expected, composed = (
        burgers(tmp_path / name, *switches, f"trainer.accumulate_grad_batches={window}") for name in ("whole", "pieces")
    )
    train(expected)
    for during in (1, 5, 9):
        stopped(composed, during, monkeypatch)
    train(composed)
    same_result(composed.run_dir, expected.run_dir)


def test_a_stop_inside_a_window_waits_for_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = burgers(tmp_path, "data.n_train=28", "trainer.accumulate_grad_batches=3", "collision=soft")
    saved = []
    for during in (-1, 0, 4, 6):
        stopped(composed, during, monkeypatch)
        checkpoint = torch.load(composed.run_dir / Checkpointing.FILE, weights_only=True)
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"]
        saved.append((checkpoint["epoch"], batches, checkpoint["global_step"]))
    assert saved == [(0, 0, 0), (0, 3, 1), (0, 6, 2), (1, 0, 3)]


@dataclass(frozen=True)
class Case:
    """A short run and where its micro-batches are: together the cases cover every kind that configurations offer."""

    name: str
    micro_batches: int
    overrides: tuple[str, ...]


# Three batches an epoch in windows of two and one; two epochs.
_BURGERS = ("experiment=burgers", "scale=smoke", "data.n_train=12", "data.n_test=8", "data.batch_size=4")
_BURGERS += ("trainer.accumulate_grad_batches=2", "trainer.max_epochs=2")
_EMA = ("averaging=ema", "averaging.decay=0.8")
_WATCHED = (
    "callbacks.condensation.layers=[fc1]",
    "callbacks.similarity.layers=[fc1]",
    "callbacks.similarity.snapshots=[1,2]",
    "callbacks.similarity.each_epoch=true",
    "callbacks.distances.snapshots=[1,2]",
)
_HARD = ("collision=hard", "collision.coll_coef=0.9")
_PLACEBOS = ("residual=sparse_noise", "residual.pairing=random", "collision.placebo=noise")
_WARMUP = ("scheduler=warmup_cosine", "scheduler.warmup_epochs=1")
_CIFAR = ("experiment=cifar_kitinet", "scale=smoke", "data.n_test=4")
_CONDENSATION = ("experiment=condensation_fc", "scale=smoke", "data.batch_size=16", "trainer.max_epochs=3")
_TEXTS = ("experiment=bert_snli", "scale=smoke", "data.n_train=null", "data.batch_size=16", "trainer.max_epochs=2")
CASES = [
    Case("none", 6, (*_BURGERS, "scheduler=none", "residual=add", "collision=soft")),
    Case("step", 6, (*_BURGERS, "scheduler=step", "residual=kiti", *_HARD, *_WATCHED)),
    Case("cosine", 6, (*_BURGERS, "scheduler=cosine", "residual=noise", "trainer.gradient_clip_val=1")),
    Case("placebos", 6, (*_BURGERS, *_PLACEBOS, *_HARD)),
    Case("one_cycle", 6, (*_BURGERS, "scheduler=one_cycle", "residual=kiti_acceleration", "collision=soft", *_EMA)),
    Case("warmup_cosine", 6, (*_BURGERS, *_WARMUP, "scheduler.each=step", "residual=dropout")),
    # Validation after each epoch, batch norm, augmentation; then the same with a single batch an epoch.
    Case("validated", 4, (*_CIFAR, "scheduler=multistep", "residual=kiti", *_EMA)),
    Case("one_batch", 3, (*_CIFAR, *_WARMUP, "data.batch_size=16", "trainer.max_epochs=3", *_HARD)),
    # Networks side by side.
    Case(
        "replicas",
        3,
        (*_CONDENSATION, "replicas=2", "residual=kiti", *_HARD),
    ),
    # Batches of similar lengths, dropout, two sets validated after each epoch, torch's fused step.
    Case("texts", 6, (*_TEXTS, "residual=kiti", "residual.coll_coef=0.9", *_HARD)),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_stop_at_any_micro_batch_changes_no_bit(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "cifar" in case.overrides[0]:
        fake_cifar(tmp_path / "data", monkeypatch)
    files = text_sets.prepared("bert_snli", tmp_path / "texts") if case.name == "texts" else []

    def configured(name: str) -> Composed:
        return compose(
            [
                case.overrides[0],
                *files,
                *case.overrides[1:],
                NEVER,
                f"runs_dir={tmp_path}/{name}",
                f"data_dir={tmp_path}/data",
            ]
        )

    expected = configured("whole")
    train(expected)
    for during in range(-1, case.micro_batches):
        composed = configured(f"during-{during}")
        stopped(composed, during, monkeypatch)
        train(composed)
        for seed in composed.seeds:
            same_result(composed.run_dir_of(seed), expected.run_dir_of(seed))


@pytest.mark.slow
def test_three_times_sigterm(tmp_path: Path) -> None:
    """The command itself: its exit status, and the result of a long run with accumulation."""
    run = ["experiment=burgers", "scale=smoke", "data.batch_size=4", "trainer.accumulate_grad_batches=7"]
    run += ["trainer.max_epochs=60", NEVER, f"data_dir={tmp_path}/data"]
    expected, composed = (compose([*run, f"runs_dir={tmp_path}/{name}"]) for name in ("whole", "pieces"))
    train(expected)
    command = [sys.executable, "-m", "kiti.train", *run, f"runs_dir={tmp_path}/pieces"]
    for number in (1, 2, 3):
        (composed.run_dir / "status.json").unlink(missing_ok=True)  # of the process before
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
        stop_when_trained(process, composed.run_dir, 25 * number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == ExitStatus.STOPPED, errors
        assert b"and saved; the same command resumes from there" in errors
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert done.returncode == ExitStatus.FINISHED, done.stderr
    same_result(composed.run_dir, expected.run_dir)


def stop_when_trained(process: subprocess.Popen[bytes], run_dir: Path, steps: int) -> None:
    """SIGTERM after so many steps."""
    deadline = time.monotonic() + 120
    while process.poll() is None:
        assert time.monotonic() < deadline
        path = run_dir / "status.json"
        status = json.loads(path.read_bytes()) if path.exists() else {}
        if status.get("state") == "training" and status["step"] >= steps:
            process.send_signal(signal.SIGTERM)
            return
        time.sleep(0.02)
