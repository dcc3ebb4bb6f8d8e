"""The launch scripts: what they print, start and return; with real runs where marked slow."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kiti.storage import records

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
NODES = ("launch_nodes.sh", "--nodes", "2", "--rendezvous", "localhost:29417")
ALL = [("launch_node.sh",), NODES, ("slurm_train.sbatch",), ("slurm_array.sh",)]

# Stands for torchrun, srun and sbatch: does what $FAKE says. Its two "processes" end as "<rank> <status>" lines.
FAKE = """#!/bin/bash
[[ $1 == -c ]] && exec "$REAL_PYTHON" "$@"
echo "$(basename "$0")" "$@" >> "$CALLS"
[[ $(basename "$0") == scontrol ]] && exit
stopped() { printf '0 75\\n1 75\\n' >> "$KITI_EXIT_FILE"; echo "$1" >> "$CALLS"; exit 1; }
trap 'stopped TERM' TERM
trap 'stopped USR1' USR1
case $FAKE in
  wait) touch "$CALLS.ready"; for _ in {1..600}; do sleep 0.05; done ;;
  *) printf "${FAKE%%;*}" >> "$KITI_EXIT_FILE"; exit "${FAKE##*;}" ;;
esac
"""


@pytest.fixture
def environment(tmp_path):
    """In which fakes of the cluster's commands are found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("fake_python", "srun", "sbatch", "scontrol"):
        (folder / name).write_text(FAKE)
        (folder / name).chmod(stat.S_IRWXU)
    own = {"KITI_RUNS_DIR": f"{tmp_path}/runs", "CALLS": f"{tmp_path}/calls", "PYTHON": f"{folder}/fake_python"}
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "REAL_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "CUDA_"))}
    return outside | own | path


def script(environment, *command, cwd=ROOT):
    line = [str(SCRIPTS / command[0]), *command[1:]]
    return subprocess.run(line, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", ALL, ids=lambda command: command[0])
def test_a_dry_run_prints_the_commands_and_writes_nothing(command, environment, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = script(environment, *command, "--dry-run", "burgers", "seed=0,1", "residual.coll_coef=0.5", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "experiment=burgers" in done.stdout
    assert "residual.coll_coef=0.5" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_the_commands_of_dry_runs(environment, tmp_path):
    environment["CUDA_VISIBLE_DEVICES"] = "0,1,2,3"
    one = script(environment, "launch_node.sh", "--dry-run", "burgers").stdout
    assert " -m torch.distributed.run --standalone --nproc-per-node 4 " in one
    assert f" --log-dir {tmp_path}/runs/logs/burgers --tee 3 " in one
    assert one.endswith(" -m kiti.train experiment=burgers\n")
    assert script(environment, "launch_node.sh", "--dry-run", "experiment=burgers").stdout.endswith(
        " experiment=burgers\n"
    )
    several = script(environment, *NODES, "--processes", "2", "--id", "7", "--dry-run", "heat").stdout
    assert "--nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint localhost:29417 --rdzv-id 7" in several
    submitted, step = script(environment, "slurm_train.sbatch", "--dry-run", "--nodes=2", "heat").stdout.splitlines()
    assert submitted == f"cd {ROOT} && sbatch --nodes=2 {SCRIPTS}/slurm_train.sbatch heat "
    assert " srun --kill-on-bad-exit=1 " in step
    assert "/runs/logs/heat/%j/rank-%t.log " in step
    array = script(environment, "slurm_array.sh", "--dry-run", "burgers", "seed=0,1").stdout
    assert " -m kiti.train -m experiment=burgers hydra/launcher=submitit_slurm " in array
    assert "seed=0\\,1" in array


@pytest.mark.parametrize("command", ALL, ids=lambda command: command[0])
@pytest.mark.parametrize("experiment", ["burger", "", None])
def test_an_unknown_experiment_is_answered_by_a_line_that_lists_them(command, experiment, environment):
    done = script(environment, *command, *([] if experiment is None else [experiment]))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{command[0]}: no experiment ")
    known = line.partition("there are: ")[2].split(", ")
    assert known == sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("launch_node.sh", "--processes", "0", "burgers"), "--processes '0' is not 1 or more"),
        (("launch_node.sh", "--gpus", "2", "burgers"), "no option --gpus"),
        (("launch_nodes.sh", "--rendezvous", "a:1", "burgers"), "--nodes '' is not 1 or more"),
        (("launch_nodes.sh", "--nodes", "2", "--rendezvous", "a", "burgers"), "--rendezvous 'a' is not HOST:PORT"),
        (("slurm_array.sh", "--dry", "burgers"), "no option --dry"),
    ],
)
def test_other_bad_input_is_one_line(command, said, environment):
    done = script(environment, *command)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize("command", ALL, ids=lambda command: command[0])
def test_help_is_the_head_of_the_script(command, environment):
    done = script(environment, command[0], "--help")
    assert done.returncode == 0
    assert f"scripts/{command[0]} --dry-run" in done.stdout or "--dry-run burgers" in done.stdout
    assert not any(line.startswith("#") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (r"0 0\n1 0\n;0", 0),
        (r"0 75\n1 75\n;1", 75),
        (r"0 0\n1 3\n;1", 3),
        (r"1 1\n0 75\n;1", 1),  # torchrun stops the rank that is left
        (r"1 75\n;1", 1),  # rank 0 was killed
        (r";137", 137),
    ],
)
def test_the_status_is_that_of_the_run(ends, status, environment, tmp_path):
    for command in (("launch_node.sh", "--processes", "2"), (*NODES, "--processes", "2")):
        assert script(environment | {"FAKE": ends}, *command, "burgers").returncode == status
    slurm = {"SLURM_JOB_ID": "5", "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_NTASKS": "2"}
    assert script(environment | {"FAKE": ends} | slurm, "slurm_train.sbatch", "burgers").returncode == status
    assert not [path for path in (tmp_path / "runs").rglob("exit*") if path.is_file()]
    assert "scontrol" not in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP"])
def test_signals_are_passed_on(name, environment, tmp_path):
    command = [str(SCRIPTS / "launch_node.sh"), "--processes", "2", "burgers"]
    with subprocess.Popen(command, env=environment | {"FAKE": "wait"}) as process:
        wait_for(tmp_path / "calls.ready")
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=60) == 75
    assert (tmp_path / "calls").read_text().splitlines()[-1] == "TERM"


@pytest.mark.parametrize(("name", "again"), [("SIGUSR1", True), ("SIGTERM", False)])
def test_only_the_signal_before_the_time_limit_puts_the_job_into_the_queue(name, again, environment, tmp_path):
    """From a copy, as slurmd runs it."""
    copy = shutil.copy(SCRIPTS / "slurm_train.sbatch", tmp_path / "slurm_script")
    slurm = {"SLURM_JOB_ID": "5", "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_NTASKS": "2", "FAKE": "wait"}
    with subprocess.Popen([str(copy), "burgers"], env=environment | slurm) as process:
        wait_for(tmp_path / "calls.ready")
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=60) == 75
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1] == "USR1"
    assert calls[2:] == (["scontrol requeue 5"] if again else [])


def test_a_job_submitted_elsewhere_says_so(environment, tmp_path):
    slurm = {"SLURM_JOB_ID": "5", "SLURM_SUBMIT_DIR": str(tmp_path)}
    done = script(environment | slurm, "slurm_train.sbatch", "burgers")
    assert done.returncode == 2
    assert done.stderr.endswith("submit it in kiti's checkout\n")


def wait_for(path):
    end = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.05)


SMOKE = ["burgers", "scale=smoke", "residual=kiti", "trainer.accelerator=cpu"]


@pytest.fixture
def real(tmp_path):
    own = {"KITI_RUNS_DIR": f"{tmp_path}/runs", "KITI_DATA_DIR": f"{tmp_path}/data", "PYTHON": sys.executable}
    return os.environ | own | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
def test_two_processes_stop_and_go_on(real, tmp_path):
    long = [*SMOKE, "data.n_train=100", "trainer.max_epochs=60", "callbacks.checkpointing.every_seconds=0.2"]
    command = [str(SCRIPTS / "launch_node.sh"), "--processes", "2", *long]
    with subprocess.Popen(command, env=real, cwd=ROOT, stderr=subprocess.PIPE) as process:
        runs = tmp_path / "runs" / "burgers"
        end = time.monotonic() + 240
        while not list(runs.rglob("last.ckpt")):
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=240)
        assert process.returncode == 75, said.decode()
    refused = script(real, "launch_node.sh", "--processes", "2", *long, "optimizer.lr=none")
    assert refused.returncode == 2
    done = subprocess.run(command[:-1], env=real, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    [record] = runs.rglob("record.json")
    assert records.read(record).world_size == 2
    logs = (tmp_path / "runs" / "logs" / "burgers").rglob("stderr.log")
    assert sorted(path.parent.name for path in logs) == ["0", "0", "0", "1", "1", "1"]  # of three launches


@pytest.mark.slow
def test_two_nodes_meet(real, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(SCRIPTS / "launch_nodes.sh"), "--nodes", "2", "--rendezvous", f"localhost:{port}"]
    command += ["--processes", "1", *SMOKE]
    nodes = [subprocess.Popen(command, env=real, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    said = [node.communicate(timeout=280)[1].decode() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    [record] = (tmp_path / "runs").rglob("record.json")
    assert records.read(record).world_size == 2
