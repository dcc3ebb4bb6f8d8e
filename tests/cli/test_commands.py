"""The commands as a user runs them: real processes, at scale=smoke."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kiti.configuration.compose import compose
from kiti.storage import records
from kiti.storage.exit_status import ExitStatus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMOKE = ["experiment=burgers", "scale=smoke"]


def environment(place: Path) -> dict[str, str]:
    return os.environ | {"KITI_RUNS_DIR": f"{place}/runs", "KITI_DATA_DIR": f"{place}/data", "OMP_NUM_THREADS": "1"}


def start(place: Path, *arguments: str, module: str = "kiti.train") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment(place), cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out, err


def run_dirs(place: Path) -> list[Path]:
    return sorted(path.parent for path in (place / "runs").rglob("record.json"))


def test_two_different_runs_and_two_equal_ones_started_in_the_same_second(tmp_path: Path) -> None:
    started = [start(tmp_path, *SMOKE, f"residual={kind}") for kind in ("add", "kiti", "kiti")]
    outputs = [process.communicate(timeout=300) for process in started]
    codes = [process.returncode for process in started]
    assert codes[0] == 0, outputs[0]
    assert sorted(codes[1:]) in ([0, ExitStatus.LOCKED], [0, 0]), outputs[1:]
    if ExitStatus.LOCKED in codes:
        assert "another process is running this run" in outputs[codes.index(ExitStatus.LOCKED)][1]
    else:  # the first finished before the second started
        assert any("finished already" in out for out, _err in outputs[1:])
    assert len(run_dirs(tmp_path)) == 2
    made = list((tmp_path / "data").rglob("data.safetensors"))
    assert len(made) == 2, "one training set and one test set, generated once for all three"


def test_finished_runs_are_not_repeated_and_never_moves_them_aside(tmp_path: Path) -> None:
    finish(start(tmp_path, *SMOKE))
    [run_dir] = run_dirs(tmp_path)
    before = (run_dir / "record.json").stat().st_mtime_ns
    out, _ = finish(start(tmp_path, *SMOKE))
    assert "finished already" in out
    assert (run_dir / "record.json").stat().st_mtime_ns == before
    _, err = finish(start(tmp_path, *SMOKE, "resume=never"))
    assert "moved the earlier run to" in err
    assert len(run_dirs(tmp_path)) == 2
    first, second = (load_file(path / "weights.safetensors") for path in run_dirs(tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_real_signal_then_the_same_command(number: signal.Signals, tmp_path: Path) -> None:
    long = [*SMOKE, "residual=kiti", "data.n_train=100", "trainer.max_epochs=60"]
    long.append("callbacks.checkpointing.every_seconds=0.2")
    composed = compose([*long, f"runs_dir={tmp_path}/runs"])
    process = start(tmp_path, *long)
    checkpoint = composed.run_dir / "last.ckpt"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    finish(process, code=-signal.SIGKILL if number == signal.SIGKILL else ExitStatus.STOPPED)
    assert not (composed.run_dir / "record.json").exists(), "it finished before the signal; make the run longer"
    stopped_at = torch.load(checkpoint, weights_only=True)["global_step"]
    assert 0 < stopped_at < 300
    finish(start(tmp_path, *long))
    finish(start(tmp_path, *long, f"runs_dir={tmp_path}/undisturbed"))
    record = records.read(composed.run_dir / "record.json")
    uninterrupted = records.read(next((tmp_path / "undisturbed").rglob("record.json")))
    assert record.metrics == uninterrupted.metrics
    assert record.config_hash == uninterrupted.config_hash
    one, other = (
        load_file(path / "weights.safetensors")
        for path in (composed.run_dir, tmp_path / "undisturbed" / "burgers" / composed.hash / "seed-0")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_train_one_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    overrides = [*SMOKE, "residual=kiti", "collision=hard", "collision.coll_coef=0.9", "trainer.accelerator=cpu"]
    done = subprocess.run(
        [*command, "-m", "kiti.train", *overrides],
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    [run_dir] = run_dirs(tmp_path)
    assert len(list((tmp_path / "runs").rglob("seed-*"))) == 1
    record = records.read(run_dir / "record.json")
    assert record.world_size == 2
    # Testing uses no padding or duplicates: the same 20 samples give the same error in one process.
    out, _ = finish(start(tmp_path, str(run_dir), module="kiti.evaluate"))
    alone = float(out.split("test/relative_l2")[1].split()[0])
    assert alone == pytest.approx(record.metrics["test/relative_l2"], rel=1e-5)


def test_a_batch_not_divisible_by_the_processes_is_refused(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "kiti.train", *SMOKE],
        env=environment(tmp_path) | {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "3"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 2
    [line] = process.stderr.strip().splitlines()
    assert "data.batch_size=20" in line
    assert "is not divisible by 3" in line


def test_multirun_with_the_joblib_launcher(tmp_path: Path) -> None:
    sweep = ["-m", *SMOKE, "residual=add,kiti", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    finish(start(tmp_path, *sweep))
    assert len(run_dirs(tmp_path)) == 4
    assert {records.read(path / "record.json").seed for path in run_dirs(tmp_path)} == {0, 1}


def test_calibration_lists_and_plots_settings(tmp_path: Path) -> None:
    finish(start(tmp_path, *SMOKE, "calibration.epochs=1", module="kiti.calibrate"))
    place = tmp_path / "runs" / "calibrations"
    table = (place / "burgers.smoke.md").read_text()
    assert "`collision_heads=8 coll_coef=0." in table
    assert (place / "burgers.smoke.csv").read_text().startswith("module,collision_heads,particles,coll_coef,")
    assert (place / "burgers.smoke.png").stat().st_size > 10_000
    assert (place / "burgers.smoke.svg").stat().st_size > 10_000


@pytest.mark.parametrize("logger", ["tensorboard", "wandb", "none"])
def test_loggers_write_inside_the_run_directory(logger: str, tmp_path: Path) -> None:
    process_environment = {k: v for k, v in environment(tmp_path).items() if k != "WANDB_API_KEY"}
    done = subprocess.run(
        [sys.executable, "-m", "kiti.train", *SMOKE, f"logger={logger}"],
        env=process_environment | {"HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    [run_dir] = run_dirs(tmp_path)
    written = {path.name for path in run_dir.iterdir()}
    assert (logger in written) == (logger != "none"), written
    assert not any((ROOT / name).exists() for name in ("wandb", "lightning_logs", "outputs", "multirun"))


def test_progress_is_reported_to_the_launcher(tmp_path: Path) -> None:
    _, err = finish(start(tmp_path, *SMOKE))
    assert "step 1 of 4" in err
    [run_dir] = run_dirs(tmp_path)
    status = json.loads((run_dir / "status.json").read_text())
    assert status["state"] == "testing"
