"""A run can be stopped at any moment and resumes as if uninterrupted; no two runs share a directory."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.strategies import SingleDeviceStrategy
from run_cases import Killed, SaveAndKill, add_callback, same_result

from kiti.cli.train_command import finished_already, train
from kiti.configuration.compose import Composed, compose
from kiti.configuration.recorded_run import compose_recorded
from kiti.ko.placebos import PLACEBOS
from kiti.storage import records
from kiti.storage import run_dirs as runs
from kiti.storage.exit_status import ExitStatus
from kiti.training.callbacks.checkpointing import Checkpointing, Stopped

# 5 steps an epoch, 3 epochs; KO's and KITI's directions are both random, so dropout is not needed.
RUN = ["experiment=burgers", "scale=smoke", "data.n_train=100", "trainer.max_epochs=3"]
NEVER = "callbacks.checkpointing.every_seconds=1e9"
STEPS = 15


def configured(place: Path, *overrides: str) -> Composed:
    return compose([*RUN, NEVER, f"runs_dir={place}/runs", f"data_dir={place.parent}/data", *overrides])


SWITCHES = [
    ("residual=kiti", "collision=hard", "collision.coll_coef=0.9"),
    ("residual=add", "collision=none"),
    ("residual=kiti_acceleration", "collision=soft"),
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """The run directory of each combination of switches, trained without interruption."""
    place = tmp_path_factory.mktemp("uninterrupted")
    directories = {}
    for switches in SWITCHES:
        composed = configured(place, *switches)
        train(composed)
        directories[switches] = composed.run_dir
    return directories


# Before the first step, within an epoch, at its end, at the start of the next, at the last step; saved then or earlier.
@pytest.mark.parametrize(
    ("save", "kill"), [(None, 3), (0, 0), (2, 2), (3, 4), (4, 5), (5, 5), (5, 8), (7, 11), (10, 14), (14, 14)]
)
def test_killed_and_resumed_is_bit_identical(
    save: int | None, kill: int, uninterrupted: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switches = SWITCHES[0]
    composed = configured(tmp_path, *switches)
    with monkeypatch.context() as patch:
        add_callback(patch, SaveAndKill(save, kill))
        with pytest.raises(Killed):
            train(composed)
    assert not runs.finished(composed.run_dir)
    train(composed)
    same_result(composed.run_dir, uninterrupted[switches])


@pytest.mark.parametrize("switches", SWITCHES[1:])
def test_killed_twice_and_resumed_is_bit_identical(
    switches: tuple[str, ...], uninterrupted: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = configured(tmp_path, *switches)
    for save, kill in [(3, 6), (8, 9)]:
        with monkeypatch.context() as patch:
            add_callback(patch, SaveAndKill(save, kill))
            with pytest.raises(Killed):
                train(composed)
    train(composed)
    same_result(composed.run_dir, uninterrupted[switches])


def test_killed_before_its_record_is_written_it_only_tests_again(uninterrupted: dict, tmp_path: Path) -> None:
    composed = configured(tmp_path, *SWITCHES[0])
    train(composed)
    (composed.run_dir / "record.json").unlink()
    (composed.run_dir / "weights.safetensors").unlink()
    train(composed)
    same_result(composed.run_dir, uninterrupted[SWITCHES[0]])


class AskToStop(Callback):
    def __init__(self, checkpointing: Checkpointing, step: int) -> None:
        self.checkpointing, self.step = checkpointing, step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_saves_and_ends_with_its_status(
    uninterrupted: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    composed = configured(tmp_path, *SWITCHES[0])
    with monkeypatch.context() as patch:
        add_callback(patch, AskToStop(Checkpointing(1e9), 7))
        with pytest.raises(SystemExit) as end:
            train(composed)
    assert end.value.code == ExitStatus.STOPPED
    assert "stopped at step 7 and saved" in capsys.readouterr().err
    train(composed)
    same_result(composed.run_dir, uninterrupted[SWITCHES[0]])


def test_checkpoints_hold_tensors_and_plain_values_only(uninterrupted: dict) -> None:
    for run_dir in uninterrupted.values():
        loaded = torch.load(run_dir / "last.ckpt", weights_only=True)
        assert loaded["global_step"] == STEPS


def test_a_partly_written_checkpoint_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If killed while saving, the previous checkpoint remains."""
    composed = configured(tmp_path)
    real_save = torch.save

    def fail_midway(checkpoint: Any, file: Any) -> None:
        if checkpoint["global_step"] == 6:
            file.write(b"half")
            raise Killed
        real_save(checkpoint, file)

    saving_always = compose(
        [
            *RUN,
            "callbacks.checkpointing.every_seconds=0",
            f"runs_dir={tmp_path}/runs",
            f"data_dir={tmp_path.parent}/data",
        ]
    )
    assert saving_always.hash == composed.hash
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail_midway)
        with pytest.raises(Killed):
            train(saving_always)
    assert torch.load(composed.run_dir / "last.ckpt", weights_only=True)["global_step"] == 5
    train(composed)
    assert runs.finished(composed.run_dir)


def test_the_record_describes_the_run(uninterrupted: dict) -> None:
    record = records.read(uninterrupted[SWITCHES[0]] / "record.json")
    assert record.experiment == "burgers"
    assert record.scale == "smoke"
    assert record.dtype == "float32"
    assert record.config["residual"]["collision_heads"] == 8
    of_the_network = {name for name in record.metrics if not name.startswith("trivial/")}
    assert of_the_network == {"test/relative_l2", "test/mse", "train/relative_l2", "train/mse"}
    assert {"trivial/ridge_relative_l2", "trivial/moving_ridge_relative_l2"} <= set(record.metrics)
    assert record.collisions is not None
    assert set(record.collisions) == {f"layers.{i}.residual" for i in range(4)}
    for found in record.collisions.values():
        assert found["particles"] == 8
        assert found["pairs"] == found["partners"] * 8 / 2
        assert {"energy_ratio", "energy_ratio_first", "energy_ratio_last"} <= found.keys()
    assert record.implementations == {f"layers.{i}.residual": "numba" for i in range(4)}
    assert record.ko is not None
    assert record.ko["fc1.weight"] > 0
    assert record.parameters == 4 * (8 * 8 * 8 * 2 + 8 * 8 + 8) + 24 + 8 * 128 + 128 + 129
    assert record.flops_per_sample is not None
    assert record.flops_per_sample > 2 * 4 * 8 * 8 * 64
    assert record.data.recipe is not None
    assert record.data.split == "train 100, test 20"
    assert {"torch", "pytorch-lightning", "kiti"} <= set(record.versions)
    assert record.wall_seconds > 0
    assert record.world_size == 1


def test_a_run_directory_is_locked_by_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess
    import sys

    with runs.locked_run_dir(tmp_path / "seed-0"):
        code = "from kiti.storage.run_dirs import locked_run_dir\nfrom pathlib import Path\n"
        code += f"with locked_run_dir(Path('{tmp_path}/seed-0')): pass"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert other.returncode == ExitStatus.LOCKED
    assert "another process is running this run" in other.stderr
    with runs.locked_run_dir(tmp_path / "seed-0"):
        pass


def test_no_finished_run_is_lost(tmp_path: Path) -> None:
    run_dir = tmp_path / "seed-0"
    assert runs.set_aside(run_dir) is None
    for attempt in range(3):
        run_dir.mkdir()
        (run_dir / "record.json").write_text(json.dumps(attempt))
        aside = runs.set_aside(run_dir)
        assert aside is not None
        assert json.loads((aside / "record.json").read_text()) == attempt
    assert len(list(tmp_path.iterdir())) == 3


def test_stopped_is_not_swallowed_by_lightning() -> None:
    assert not issubclass(Stopped, KeyboardInterrupt)


@pytest.mark.slow
@pytest.mark.parametrize("collision", ["none", "soft", "hard"])
@pytest.mark.parametrize("residual", ["add", "kiti", "kiti_acceleration", "dropout", "noise"])
def test_every_combination_of_the_two_switches_runs(residual: str, collision: str, tmp_path: Path) -> None:
    composed = configured(tmp_path, f"residual={residual}", f"collision={collision}", "trainer.max_epochs=1")
    train(composed)
    record = records.read(composed.run_dir / "record.json")
    assert (record.ko is None) == (collision == "none")
    assert (record.collisions is None) == (residual in {"add", "dropout"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        *[(f"residual={placebo}",) for placebo in ("random_pairs", "means_only", "kicks_only", "sparse_noise")],
        *[(f"collision={mode}", f"collision.placebo={p}") for mode in ("soft", "hard") for p in PLACEBOS],
    ],
    ids="-".join,
)
def test_every_placebo_runs_and_is_evaluated_from_its_record(switches: tuple[str, ...], tmp_path: Path) -> None:
    composed = configured(tmp_path, *switches, "trainer.max_epochs=1")
    train(composed)
    record = records.read(composed.run_dir / "record.json")
    assert all(map(math.isfinite, record.metrics.values()))
    assert compose_recorded(record).hash == composed.hash


def test_a_finished_run_reports_changed_code(uninterrupted: dict, tmp_path: Path) -> None:
    composed = configured(uninterrupted[SWITCHES[0]].parents[3], *SWITCHES[0])
    path = composed.run_dir / "record.json"
    assert finished_already(path, composed) == f"finished already: {path}"
    record = records.read(path)
    assert record.sources is not None
    changed = tmp_path / "record.json"
    records.write(replace(record, sources=record.sources | {"kiti.models.fno": "0" * 12}), tmp_path)
    expected = f"finished already: {changed}; its code has changed since (kiti.models.fno): --again runs it again"
    assert finished_already(changed, composed) == expected
    records.write(replace(record, sources=None), tmp_path)
    assert finished_already(changed, composed) == f"finished already: {changed}"


def test_the_record_names_code_lock_and_weights(uninterrupted: dict) -> None:
    run_dir = uninterrupted[SWITCHES[0]]
    record = records.read(run_dir / "record.json")
    counted = "collision data model optimizer residual residual.collide scheduler task task.evaluation trainer"
    assert record.revisions == dict.fromkeys(counted.split(), 1) | {"residual": 2}
    assert record.fingerprint is not None
    assert set(record.fingerprint) == {"collision", "data", "model", "residual", "task"}
    assert record.lock == records.lock_digest()
    assert record.weights == hashlib.sha256((run_dir / "weights.safetensors").read_bytes()).hexdigest()
    assert record.state == "finished"
    assert record.curves is not None
    assert len(record.curves["train/loss"].values) == 3
    assert not [override for override in record.overrides if override.startswith(("runs_dir", "data_dir"))]


def test_the_record_names_the_device_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After testing, Lightning moves the task to the CPU, and only the strategy knows where it was."""

    def teardown(self: SingleDeviceStrategy) -> None:
        if self.lightning_module is not None and self.lightning_module.trainer.state.fn == "test":
            self._root_device = torch.device("cuda", 0)

    monkeypatch.setattr(SingleDeviceStrategy, "teardown", teardown)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU, number {device.index}")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    composed = configured(tmp_path, "trainer.max_epochs=1", "trainer.precision=64-true")
    train(composed)
    found = records.read(composed.run_dir / records.FILE_NAME)
    assert (found.device, found.device_name, found.peak_memory_mib) == ("cuda", "a GPU, number 0", 3)
    assert found.dtype == "float64"
