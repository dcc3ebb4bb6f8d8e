"""Who started this process, read from the variables that torchrun 2.11 and srun 22.05 set."""

import os

import pytest

from kiti.storage import processes

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"}
# What every process of an allocation of four tasks on two nodes sees, in a batch script too.
JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
STEP = JOB | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
STEP |= {"SLURM_NODEID": "1", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "n[1-2]"}
SHELL = JOB | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NODEID": "0"}


@pytest.fixture
def started_with(monkeypatch):
    def set_environment(variables):
        for name in processes.alone(os.environ).keys() ^ os.environ.keys():
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return processes.rank(), processes.world_size(), processes.local_rank(), processes.node_rank()

    return set_environment


def test_torchrun_and_srun_number_their_processes(started_with):
    assert started_with(TORCHRUN) == (3, 4, 1, 1)
    assert not processes.by_srun()
    assert started_with(STEP) == (3, 4, 1, 1)
    assert processes.by_srun()


def test_torchrun_inside_a_step_counts_first(started_with):
    assert started_with(STEP | {"SLURM_PROCID": "2"} | TORCHRUN) == (3, 4, 1, 1)


@pytest.mark.parametrize("variables", [{}, JOB, SHELL, JOB | {"WORLD_SIZE": "4", "MASTER_ADDR": "n1"}])
def test_batch_scripts_and_interactive_shells_are_one_process(started_with, variables):
    assert started_with(variables) == (0, 1, 0, 0)


def test_a_world_size_exported_by_a_job_script_leaves_the_ranks_to_srun(started_with):
    assert started_with(STEP | {"WORLD_SIZE": "4"}) == (3, 4, 1, 1)


def test_a_child_may_be_alone(started_with):
    assert started_with(processes.alone(STEP | TORCHRUN)) == (0, 1, 0, 0)
    assert processes.alone({"HOME": "/h", **TORCHRUN}) == {"HOME": "/h"}
