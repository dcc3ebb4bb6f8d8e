"""Whole runs of a language model on two gloo processes: stopped and resumed, recorded, diverged; space and keys.

One launch makes all runs, as starting processes takes longest.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from run_cases import add_callback, same_result
from safetensors.torch import load_file
from stream_cases import free_ports, model, on_ranks

from kiti.cli.train_command import train
from kiti.configuration.compose import Composed, compose
from kiti.configuration.explain import ConfigError
from kiti.storage import records
from kiti.storage.exit_status import ExitStatus
from kiti.tasks.language_modelling import LanguageModelling
from kiti.training import building
from kiti.training.checkpoint_space import moments_of, require_space
from kiti.units import plugins

PLUGIN = Path(__file__).parents[1] / "cases" / "token_blocks" / "token_blocks.py"
RUN = ["experiment=token_blocks", "residual=kiti", "collision=soft", "collision.coll_coef=0.2", "logger=none"]
RUN += ["trainer.accelerator=cpu", "callbacks.checkpointing.every_seconds=1e9"]
FSDP2 = ["trainer=fsdp2"]


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.VARIABLE, str(PLUGIN))


def composed(place: Path, *more: str) -> Composed:
    return compose([*FSDP2, *RUN, f"runs_dir={place}", f"data_dir={place}/data", *more])


class StopOneRank(Callback):
    """Asks rank 1 to stop in the middle of the second epoch."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGUSR2)


def ended(run: Composed, port: int, callback: Callback | None = None) -> ExitStatus:
    os.environ["MASTER_PORT"] = str(port)
    with pytest.MonkeyPatch.context() as patch:
        if callback is not None:
            add_callback(patch, callback)
        try:
            return train(run)
        except SystemExit as stopped:
            torch.distributed.destroy_process_group()
            return ExitStatus(stopped.code)


def every_run(ports: list[int], folder: Path) -> None:
    os.environ[plugins.VARIABLE] = str(PLUGIN)
    pieces = composed(folder / "pieces")
    statuses = [ended(pieces, ports[0], StopOneRank()), ended(pieces, ports[1])]
    statuses.append(ended(composed(folder / "whole"), ports[2]))
    statuses.append(ended(composed(folder / "ddp", "trainer.strategy=ddp"), ports[3]))
    statuses.append(ended(composed(folder / "diverged", "optimizer.lr=1e30"), ports[4]))
    (folder / os.environ["RANK"]).write_text(" ".join(status.name for status in statuses))


@pytest.mark.slow
def test_whole_runs(tmp_path: Path) -> None:
    on_ranks(partial(every_run, free_ports(5)), tmp_path)
    for rank in ("0", "1"):  # all ranks end alike
        assert (tmp_path / rank).read_text() == "STOPPED FINISHED FINISHED FINISHED DIVERGED"
    pieces, whole, ddp = (composed(tmp_path / name).run_dir for name in ("pieces", "whole", "ddp"))
    same_result(pieces, whole)
    checkpoint = torch.load(pieces / "previous.ckpt", weights_only=True)  # of the stop
    assert checkpoint["global_step"] == 4
    assert all(type(tensor) is torch.Tensor for tensor in checkpoint["state_dict"].values())

    one, other = (records.read(run_dir / "record.json") for run_dir in (whole, ddp))
    assert one.config_hash == other.config_hash  # how the ranks share the work is not part of a run's identity
    assert one.metrics == pytest.approx(other.metrics, rel=1e-4)
    assert (one.parameters, one.flops_per_sample, one.world_size) == (other.parameters, other.flops_per_sample, 2)
    assert one.train_tokens_per_second == pytest.approx(2 * 12 * 8 / one.wall_seconds)
    resumed = records.read(pieces / "record.json")
    assert resumed.train_tokens_per_second == pytest.approx(2 * 12 * 8 / resumed.wall_seconds)
    stored, expected = (load_file(run_dir / "weights.safetensors") for run_dir in (whole, ddp))
    assert stored.keys() == expected.keys()
    assert "lm_head.weight" not in stored
    for name, tensor in expected.items():
        torch.testing.assert_close(stored[name], tensor, rtol=0, atol=1e-4)

    # One process reads them, tied.
    run = composed(tmp_path / "whole")
    built: Any = building.model(run)
    building.load_weights(built, one, whole)
    assert torch.equal(built.lm_head.weight, stored["transformer.wte.weight"])

    diverged = records.read(composed(tmp_path / "diverged", "optimizer.lr=1e30").run_dir / "record.json")
    assert diverged.state == "diverged"
    assert math.isnan(diverged.metrics["test/loss"])
    assert diverged.divergence is not None
    assert (diverged.divergence.what, len(diverged.divergence.samples or [])) == ("the training loss", 2)
    assert diverged.curves is not None
    assert max(diverged.curves["train/loss"].steps) < 6  # it stopped before its 6 steps were done


@pytest.mark.slow
def test_a_diverged_run_ends_with_its_own_status(tmp_path: Path) -> None:
    run = [*RUN, "optimizer.lr=1e30", f"runs_dir={tmp_path}", f"data_dir={tmp_path}/data"]
    command = [sys.executable, "-m", "kiti.train", "--plugin", str(PLUGIN), *run]
    cases = str(PLUGIN.parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PLUGIN.parents[3]), cases])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == ExitStatus.DIVERGED, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "the run has diverged" in line]
    assert line.startswith("kiti-train: the training loss was not finite at step ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["experiment=burgers", "scale=smoke", *FSDP2], "only language models are sharded, not kiti.models.fno"),
        ([*RUN, *FSDP2, "trainer.precision=64-true"], "strategy=fsdp2 trains with precision=32-true or bf16-mixed"),
        ([*RUN, *FSDP2, "averaging=ema", "averaging.decay=0.9"], "averages of the weights are not sharded"),
        ([*RUN, *FSDP2, "callbacks.benchmarks.tasks=[mmlu]"], "leaves no rank the whole model"),
        ([*RUN, *FSDP2, "compile=true"], "compile=true"),
    ],
)
def test_what_cannot_be_sharded_takes_one_line(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [
        (partial(torch.optim.AdamW, lr=0.1), 2),
        (partial(torch.optim.AdamW, lr=0.1, fused=True), 2),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 1),
        (partial(torch.optim.SGD, lr=0.1), 0),
    ],
)
def test_moments_of_an_optimizer(optimizer: Any, moments: int) -> None:
    assert moments_of(optimizer) == moments


def test_space_for_checkpoints_and_weights_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = LanguageModelling(model(), partial(torch.optim.AdamW, lr=0.1))
    size = 4 * sum(parameter.numel() for parameter in task.model.parameters())  # tied ones once
    needed = 3 * 3 * size + size

    def free(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=size))

    free(needed)
    require_space(task, tmp_path, keep=2)
    free(needed - 1)
    with pytest.raises(ConfigError) as error:
        require_space(task, tmp_path, keep=2)
    assert str(error.value).startswith(f"{tmp_path}: {needed / 1e9:.3g} GB are needed for 3 checkpoints of ")
    assert "give callbacks.checkpointing.keep=1 or runs_dir=" in str(error.value)
    (tmp_path / "last.ckpt").write_bytes(b"0")  # a resumed run replaces it
    require_space(task, tmp_path, keep=2)

    free(2 * 3 * size + size)
    require_space(task, tmp_path, keep=1)
    with pytest.raises(ConfigError, match="are free; give runs_dir="):
        require_space(task, tmp_path, keep=1, averaged=True)
