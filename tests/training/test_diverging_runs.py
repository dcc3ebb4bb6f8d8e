"""A run whose training diverges stops, says where, and leaves a record that counts as a result."""

import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import image_sets
import pytest
import text_sets
import torch
from fake_images import fake_fashion_mnist
from pytorch_lightning import Callback, LightningModule, Trainer
from run_cases import add_callback
from stream_cases import free_ports, on_ranks

from kiti.cli.train_command import finished_already, has_finished, main, train
from kiti.configuration.compose import Composed, compose
from kiti.report.courses import course
from kiti.report.table_runs import aggregate
from kiti.storage import records
from kiti.storage.divergence import Divergence
from kiti.storage.exit_status import ExitStatus
from kiti.tasks.task import Task
from kiti.training import building
from kiti.units import plugins

PLUGIN = Path(__file__).parents[1] / "cases" / "token_blocks" / "token_blocks.py"
COMMON = ["logger=none", "trainer.accelerator=cpu", "callbacks.checkpointing.every_seconds=1e9"]
BURGERS = ["experiment=burgers", "scale=smoke", "data.n_train=100", "trainer.max_epochs=3"]  # 5 batches of 20 an epoch
TOO_FAST = "optimizer.lr=1e30"


def texts(folder: Path) -> list[str]:
    return ["experiment=bert_snli", "scale=smoke", *text_sets.prepared("bert_snli", folder)]


def images(folder: Path) -> list[str]:
    return [
        "experiment=imagenet_convnext_tiny",
        "scale=smoke",
        f"data.path={image_sets.write_folder(folder / 'images')}",
    ]


FAMILIES: dict[str, Callable[[Path], list[str]]] = {
    "operator": lambda _: ["experiment=burgers", "scale=smoke"],
    "rollout": lambda _: ["experiment=heat", "scale=smoke"],
    "flow": lambda _: ["experiment=airfoil_euler", "scale=smoke"],
    "classification": lambda _: ["experiment=fashion_kitinet", "scale=smoke"],
    "mixed": images,
    "regression": lambda _: ["experiment=condensation_skip", "scale=smoke"],
    "texts": texts,
    "language": lambda _: ["experiment=token_blocks", "collision.coll_coef=0.2"],
}
PERSISTENCE = {f"{of}/persistence_rmse{where}" for of in ("test", "train") for where in ("", "_box")}
KEPT = {"flow": PERSISTENCE, "language": {"train/tokens_per_step", "train/unlabelled_batches"}}
"""What does not say anything of the network."""


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.VARIABLE, str(PLUGIN))


def composed(place: Path, *run: str) -> Composed:
    return compose([*run, *COMMON, f"runs_dir={place}/runs", f"data_dir={place}/data"])


def record_of(run: Composed, seed: int = 0) -> records.Record:
    return records.read(run.run_dir_of(seed) / records.FILE_NAME)


class Inject(Callback):
    """Puts a number into a weight before a batch; of one replica if there are several."""

    def __init__(self, number: float, epoch: int, batch: int, replica: int = 0) -> None:
        self.number, self.when, self.replica = number, (epoch, batch), replica

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.when:
            parameter = next(iter(pl_module.parameters()))
            with torch.no_grad():
                parameter[self.replica] = self.number


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_stops_and_is_recorded(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_fashion_mnist(tmp_path / "data", monkeypatch)
    run = composed(tmp_path, *FAMILIES[family](tmp_path), "residual=kiti", "collision=soft", TOO_FAST)
    assert train(run) == ExitStatus.DIVERGED
    record = record_of(run)
    assert record.state == "diverged"
    where = record.divergence
    assert where is not None
    assert where.step < 10
    assert where.samples
    [line] = [line for line in capsys.readouterr().err.splitlines() if "has diverged" in line]
    assert line == f"kiti-train: {where}: the run has diverged; a smaller optimizer.lr may help"
    shown = {name for name in record.metrics if name.startswith(("test/", "train/", "rho/"))}
    assert {name for name in shown if math.isfinite(record.metrics[name])} == KEPT.get(family, set())
    assert run.checked.task.metric is not None
    assert math.isnan(record.metrics[run.checked.task.metric.key])
    assert record.collisions or run.config["residual"]["unit"] == "add"
    assert has_finished(run, 0), "it is not run again"
    assert f"; diverged: {where.what} was not finite at step {where.step}" in finished_already(
        run.run_dir / records.FILE_NAME, run
    )


def test_the_batch_is_named_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = composed(tmp_path, *BURGERS, "residual=kiti")
    add_callback(monkeypatch, Inject(math.inf, epoch=1, batch=3))
    batches: list[Any] = []
    add_callback(monkeypatch, Seen(batches))
    assert train(run) == ExitStatus.DIVERGED
    found = record_of(run).divergence
    assert found is not None
    assert (found.what, found.step, found.epoch, found.batch) == ("the training loss", 8, 1, 3)
    assert len(batches) == 9, "the batch after it is not trained"
    data = building.data(run)
    loader = data.train_dataloader()
    given = loader.tensors[0][found.samples]
    assert torch.equal(given if loader.prepare is None else loader.prepare((given, given))[0], batches[8])


def test_losses_are_read_late_and_the_batch_is_named_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: at the end of the epoch."""
    add_callback(monkeypatch, Inject(math.nan, epoch=1, batch=1))
    batches: list[Any] = []
    add_callback(monkeypatch, Seen(batches))
    monkeypatch.setattr(Task, "reads_at_once", property(lambda self: False))
    run = composed(tmp_path, *BURGERS)
    assert train(run) == ExitStatus.DIVERGED
    found = record_of(run).divergence
    assert found is not None
    assert (found.step, found.epoch, found.batch) == (6, 1, 1)
    assert len(batches) == 10


class Seen(Callback):
    """Keeps the inputs of each batch."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch[0])


class StopBeforeItIsRead(Callback):
    """Asks the run to stop two batches after the loss is not finite, and in between kills it, if asked to."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 8:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_that_is_stopped_before_its_losses_are_read_does_not_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = composed(tmp_path, *BURGERS, "residual=kiti", "collision=soft")
    monkeypatch.setattr(Task, "reads_at_once", property(lambda self: False))
    with monkeypatch.context() as patch:
        add_callback(patch, Inject(math.nan, epoch=1, batch=1))
        add_callback(patch, StopBeforeItIsRead())
        with pytest.raises(SystemExit) as end:
            train(run)
    assert end.value.code == ExitStatus.STOPPED
    batches: list[Any] = []
    add_callback(monkeypatch, Seen(batches))
    assert train(run) == ExitStatus.DIVERGED
    assert batches == []
    record = record_of(run)
    assert record.divergence == Divergence("the training loss", 6, 1, 1, record.divergence.samples)
    assert record.collisions is not None


def test_replicas_that_have_not_diverged_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = "callbacks.similarity.layers=[layers.1]"
    watched = [layers, "callbacks.similarity.snapshots=[1,3]", "callbacks.similarity.each_epoch=true"]
    several = [
        "experiment=condensation_skip",
        "scale=smoke",
        "trainer.max_epochs=3",
        "replicas=3",
        "data.batch_size=16",
    ]
    several += watched
    whole = composed(tmp_path / "whole", *several)
    assert train(whole) == ExitStatus.FINISHED
    run = composed(tmp_path, *several)
    add_callback(monkeypatch, Inject(math.inf, epoch=1, batch=0, replica=1))
    assert train(run) == ExitStatus.DIVERGED
    assert "epoch 1, batch 0 (" in (errors := capsys.readouterr().err)
    assert "diverged: seed 1; the others go on" in errors
    for seed in (0, 2):
        assert record_of(run, seed).metrics == record_of(whole, seed).metrics
        assert record_of(run, seed).state == "finished"
        assert record_of(run, seed).weights == record_of(whole, seed).weights
    lost, sound = record_of(run, 1), record_of(whole, 1)
    assert (lost.state, lost.divergence.epoch, lost.divergence.step) == ("diverged", 1, 1)
    assert lost.metrics.keys() == sound.metrics.keys()
    for name, value in lost.metrics.items():
        known = name.endswith("@1") or name.startswith("trivial/")  # before it diverged, or of no network
        assert math.isnan(value) == (not known), name
        assert value == sound.metrics[name] or math.isnan(value)


def test_the_run_stops_when_no_replica_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = [
        "experiment=condensation_skip",
        "scale=smoke",
        "trainer.max_epochs=9",
        "replicas=2",
        "data.batch_size=16",
    ]
    run = composed(tmp_path, *several, TOO_FAST)
    assert train(run) == ExitStatus.DIVERGED
    assert "diverged: seeds 0, 1; none is left" in capsys.readouterr().err
    assert {record_of(run, seed).state for seed in (0, 1)} == {"diverged"}


@pytest.mark.parametrize("family", ["classification", "texts"])
def test_a_nan_in_validation_alone_shows(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchmetrics leaves it out of means, and finds a largest logit among nan."""
    fake_fashion_mnist(tmp_path / "data", monkeypatch)
    run = composed(tmp_path, *FAMILIES[family](tmp_path), "trainer.max_epochs=2")
    add_callback(monkeypatch, NanInValidation())
    assert train(run) == ExitStatus.DIVERGED
    record = record_of(run)
    assert (record.state, record.divergence) == ("diverged", None)
    assert math.isnan(record.metrics["accuracy/test@1"])
    assert math.isfinite(record.metrics["accuracy/test@2"])
    assert math.isnan(record.metrics["test/best_accuracy"])
    assert math.isfinite(record.metrics["test/accuracy"])
    assert math.isnan(record.curves["val/accuracy"].values[0])


class NanInValidation(Callback):
    """Replaces the first output of the model in the first validation."""

    def on_validation_start(self, trainer: Trainer, pl_module: Task) -> None:
        if trainer.current_epoch == 0:
            self.hook = pl_module.model.register_forward_hook(self._spoil)

    def _spoil(self, module: Any, arguments: Any, outputs: Any) -> None:
        getattr(outputs, "logits", outputs)[0, 0] = math.nan
        self.hook.remove()


def test_a_record_without_a_metric_counts_as_diverged(tmp_path: Path) -> None:
    run = composed(tmp_path, *BURGERS, TOO_FAST)
    train(run)
    record = record_of(run)
    assert math.isnan(aggregate([record], "rho/not_reached@2")[0])
    assert not course(record, "val/loss", False, 3).is_finite
    with pytest.raises(records.RecordError, match="no metric"):
        aggregate([replace(record, divergence=None)], "rho/not_reached@2")


def test_it_is_run_again_only_if_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [*BURGERS, *COMMON, TOO_FAST, f"runs_dir={tmp_path}/runs", f"data_dir={tmp_path}/data"]

    def ended(*more: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["kiti-train", *run, *more])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr().out

    assert ended()[0] == ExitStatus.DIVERGED
    status, out = ended()
    assert (status, out.startswith("finished already: ")) == (ExitStatus.DIVERGED, True)
    assert "; diverged: the training loss was not finite at step " in out
    status, out = ended("--again")
    assert status == ExitStatus.DIVERGED
    assert "test/mse nan" in out


def on_two_ranks(ports: list[int], folder: Path) -> None:
    os.environ[plugins.VARIABLE] = str(PLUGIN)
    found = []
    for port, name in zip(ports, ("ddp", "one-rank"), strict=True):
        os.environ["MASTER_PORT"] = str(port)
        with pytest.MonkeyPatch.context() as patch:
            if name == "one-rank":
                add_callback(patch, InfiniteOnOneRank())
            found.append(train(composed(folder / name, *BURGERS, *([TOO_FAST] if name == "ddp" else []))).name)
    (folder / os.environ["RANK"]).write_text(" ".join(found))


class InfiniteOnOneRank(Callback):
    """The loss of rank 1 in the second batch of the second epoch, but not its gradient."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.global_rank, trainer.current_epoch, batch_idx) == (1, 1, 1):
            outputs["loss"] = outputs["loss"] * math.inf


@pytest.mark.slow
def test_all_ranks_stop_and_name_the_batch(tmp_path: Path) -> None:
    composed(tmp_path, *BURGERS)
    on_ranks(partial(on_two_ranks, free_ports(2)), tmp_path)
    for rank in ("0", "1"):
        assert (tmp_path / rank).read_text() == "DIVERGED DIVERGED"
    record = record_of(composed(tmp_path / "one-rank", *BURGERS))
    assert record.divergence is not None
    assert (record.divergence.step, record.divergence.epoch, record.divergence.batch) == (6, 1, 1)
    assert record.divergence.samples is not None
    assert len(record.divergence.samples) == 20
    assert math.isnan(record.metrics["test/mse"])
