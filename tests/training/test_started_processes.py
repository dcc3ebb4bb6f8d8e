"""What Lightning is told of the processes that torchrun or srun started, and which device each has."""

import os
import stat

import pytest
import torch

from kiti.configuration.compose import compose
from kiti.configuration.explain import ConfigError
from kiti.storage import processes
from kiti.training import building
from kiti.training.started_processes import StartedProcesses, own_device

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "node7", "MASTER_PORT": "29500"}
# `srun --ntasks 2 --nodes 2` without --ntasks-per-node, on which Lightning's own environment raises.
SRUN = {"SLURM_JOB_ID": "99999999", "SLURM_STEP_ID": "3", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
SRUN |= {"SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_NODEID": "1"}
SRUN |= {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_JOB_NAME": "kiti"}


@pytest.fixture
def started_with(monkeypatch):
    for name in [*TORCHRUN, *(processes.alone(os.environ).keys() ^ os.environ.keys())]:
        monkeypatch.delenv(name, raising=False)
    return lambda variables: [monkeypatch.setenv(*item) for item in variables.items()]


@pytest.fixture
def gpus(monkeypatch):
    def see(number):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)

    return see


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_lightning_starts_no_processes_and_takes_over_the_numbers(started_with, variables, runs_dir):
    started_with(variables)
    trainer = building.trainer(compose(["experiment=burgers", "scale=smoke", "trainer.accelerator=cpu"]))
    launcher = trainer.strategy.launcher
    assert launcher.launch(lambda: "here", trainer=trainer) == "here"
    assert launcher.procs == []  # where Lightning keeps the processes that it started
    assert (trainer.world_size, trainer.global_rank, trainer.num_devices) == (2, 1, 1)
    assert not trainer.is_global_zero


def test_the_address_is_given_or_found_in_slurms_variables(started_with, tmp_path, monkeypatch):
    environment = StartedProcesses()
    started_with(SRUN | {"SLURM_STEP_NODELIST": "localhost,n2"})
    assert environment.main_address == "localhost"
    assert 20_000 <= environment.main_port < 32_000
    monkeypatch.setenv("SLURM_STEP_ID", "4")
    assert StartedProcesses().main_port == environment.main_port  # read when asked
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho NodeName=$3 CoresPerSocket=1; echo '  NodeAddr=127.0.0.1 NodeHostName=vm'\n")
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "no-such-host[17,19-20]")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert environment.main_address == "127.0.0.1"
    scontrol.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no-such-host17, has no address known here; set MASTER_ADDR"):
        environment.main_address  # noqa: B018
    started_with(TORCHRUN)
    assert (environment.main_address, environment.main_port) == ("node7", 29500)


def test_steps_of_a_job_and_neighbouring_jobs_have_their_own_ports(started_with):
    ports = set()
    for job in range(99_000, 99_020):
        for step in range(20):
            started_with(SRUN | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)})
            ports.add(StartedProcesses().main_port)
    assert len(ports) == 400


def test_each_process_has_its_own_gpu(started_with, gpus):
    assert own_device("cpu") == 1
    gpus(0)
    assert own_device("auto") == 1
    gpus(4)
    assert own_device("auto") == [0]
    started_with(SRUN | {"SLURM_LOCALID": "2"})
    assert own_device("gpu") == [2]
    gpus(1)  # srun --gpus-per-task=1
    assert own_device("auto") == [0]


def test_more_processes_than_gpus_under_torchrun_are_refused(started_with, gpus):
    started_with(TORCHRUN)
    gpus(1)
    with pytest.raises(ConfigError, match="local rank 1 has no GPU: 1 visible here; start at most 1 processes"):
        own_device("auto")
