"""KITI's runs and sweeps in a real SLURM cluster of two nodes on this host: `make test-slurm`."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kiti.storage import records

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]
SBATCH = ROOT / "scripts" / "slurm_train.sbatch"
SMOKE = ["scale=smoke", "residual=kiti", "trainer.accelerator=cpu"]
# 300 steps, saved only when stopped.
LONG = [*SMOKE, "data.n_train=100", "trainer.max_epochs=60", "callbacks.checkpointing.every_seconds=3600"]


@pytest.fixture
def environment(cluster, tmp_path):
    own = {"KITI_RUNS_DIR": f"{tmp_path}/runs", "KITI_DATA_DIR": f"{tmp_path}/data", "PYTHON": sys.executable}
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    return cluster.environment | own | paths


@pytest.fixture
def submit(environment, tmp_path):
    def submit(*arguments, **variables):
        command = [str(SBATCH), f"--output={tmp_path}/job-%j.log", *arguments]
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return re.fullmatch(r"Submitted batch job (\d+)\n", done.stdout)[1]

    return submit


def until(reached, what, seconds=240):
    end = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < end, f"{what} after {seconds} s"
        time.sleep(0.2)
    return found


def training(runs, number=1):
    """The run directories in which training has begun, once there are `number`."""

    def begun():
        found = [p.parent for p in runs.rglob("status.json") if '"training"' in p.read_text()]
        return found if len(found) >= number else None

    return until(begun, f"fewer than {number} runs train")


def ended(job):
    return job.state in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}


def test_a_job_that_nears_its_time_limit_goes_on_to_the_same_bits(cluster, submit, tmp_path):
    """Two tasks on two nodes, without --ntasks-per-node; the signal is the one that --signal asks for."""
    number = submit("--nodes=2", "--ntasks=2", "burgers", *LONG)
    [run_dir] = training(tmp_path / "runs")
    cluster.call("scancel", "--batch", "--signal=USR1", number)
    cluster.wait(number, lambda job: job.restarts == 1)
    saved = (run_dir / "last.ckpt").stat().st_mtime
    assert not (run_dir / "record.json").exists(), "it finished before the signal; make the run longer"
    job = cluster.wait(number, ended)
    log = (tmp_path / f"job-{number}.log").read_text()
    assert (job.state, job.exit_code, job.restarts) == ("COMPLETED", "0:0", 1), log
    assert "the job goes on from there" in log
    ranks = sorted((tmp_path / "runs" / "logs" / "burgers" / number).glob("rank-*.log"))
    assert [rank.name for rank in ranks] == ["rank-0.log", "rank-1.log"]
    assert all("stopped at step" in rank.read_text() for rank in ranks[:1])
    assert (run_dir / "last.ckpt").stat().st_mtime > saved
    record = records.read(run_dir / "record.json")
    assert record.world_size == 2

    whole = submit("--ntasks=2", "burgers", *LONG, KITI_RUNS_DIR=f"{tmp_path}/whole")
    assert cluster.wait(whole, ended).state == "COMPLETED"
    [other] = (tmp_path / "whole").rglob("record.json")
    assert records.read(other).metrics == record.metrics
    one, two = (load_file(path / "weights.safetensors") for path in (run_dir, other.parent))
    assert all((one[name] == two[name]).all() for name in one)


def test_a_run_stopped_or_refused_is_not_completed(cluster, submit, tmp_path):
    number = submit("--ntasks=1", "burgers", *LONG)
    training(tmp_path / "runs")
    cluster.call("scancel", "--signal=USR2", f"{number}.0")  # the step, as `kill` would: nobody asked to go on
    job = cluster.wait(number, ended)
    assert (job.state, job.exit_code, job.restarts) == ("FAILED", "75:0", 0)
    refused = submit("--ntasks=2", "burgers", "scale=smoke", "optimizer.lr=none")
    job = cluster.wait(refused, ended)
    assert (job.state, job.exit_code) == ("FAILED", "2:0")


def test_a_shell_in_a_step_of_one_task_is_one_process(cluster, environment, tmp_path):
    """srun gives the shell SLURM_NTASKS of the allocation."""
    inner = f"srun --ntasks=1 {sys.executable} -m kiti.train experiment=burgers {' '.join(SMOKE)}"
    shell = ["salloc", "--ntasks=4", "bash", "-c", f'test "$SLURM_NTASKS" = 4 && {inner}']
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    [record] = (tmp_path / "runs").rglob("record.json")
    assert records.read(record).world_size == 1


def test_an_array_goes_on_after_its_signal_and_shows_what_failed(cluster, environment, tmp_path):
    """Of three members one is asked by submitit's signal to go on later, one diverges, one is stopped."""
    command = [str(ROOT / "scripts" / "slurm_array.sh"), "burgers", *LONG, "optimizer.lr=0.001,1e30,0.0011"]
    with (tmp_path / "array.log").open("w") as log:
        array = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        members = until(lambda: {n: j for n, j in cluster.jobs().items() if n.endswith(("_0", "_1", "_2"))}, "no array")
        number = next(iter(members)).rpartition("_")[0]
        for member, name in ((0, "SIGUSR2"), (2, "SIGTERM")):
            marker = f"optimizer.lr={('0.001', '1e30', '0.0011')[member]}"
            until(lambda marker=marker: trains(tmp_path / "runs", marker), f"{marker} does not train")
            cluster.call("scancel", f"--signal={name}", f"{number}_{member}")
        jobs = [cluster.wait(f"{number}_{member}", ended) for member in range(3)]
        assert [(job.state, job.exit_code) for job in jobs] == [
            ("COMPLETED", "0:0"),
            ("FAILED", "3:0"),
            ("FAILED", "75:0"),
        ], (tmp_path / "array.log").read_text()
        assert jobs[0].restarts == 1
        assert array.wait(timeout=120) == 75, (tmp_path / "array.log").read_text()
    finally:
        array.kill()
        array.wait()
    states = sorted(records.read(path).state for path in (tmp_path / "runs").rglob("record.json"))
    assert states == ["diverged", "finished"]


def trains(runs, override):
    """Whether the run whose log names this override has begun to train."""
    logs = [path.read_text() for path in (runs / "logs").glob("*.log")]
    return any(f" {override} " in text and "step " in text for text in logs)
