"""This process among those that torchrun or srun started together, read from the environment.

torchrun sets RANK and WORLD_SIZE; they count before SLURM's variables, because torchrun may itself run under srun. Of
SLURM's variables only those of the step count: SLURM_NTASKS is also set where nothing was started together, in batch
scripts and interactive shells.
"""

import os
from collections.abc import Mapping

_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
_OF_SRUN = ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")


def rank() -> int:
    """This process's rank; 0 if it was started alone."""
    return _number("RANK", "SLURM_PROCID", 0)


def world_size() -> int:
    """Number of processes started together by torchrun or srun; 1 without them."""
    return _number("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", 1)


def local_rank() -> int:
    """This process's number among those on its node."""
    return _number("LOCAL_RANK", "SLURM_LOCALID", 0)


def node_rank() -> int:
    """The number of this process's node."""
    return _number("GROUP_RANK", "SLURM_NODEID", 0)


def by_srun() -> bool:
    """Whether srun started several processes, of which this is one."""
    return not _by_torchrun() and "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def alone(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a child that is one of no group, whatever this process is."""
    return {name: value for name, value in environment.items() if name not in {*_OF_TORCHRUN, *_OF_SRUN}}


def _by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _number(of_torchrun: str, of_srun: str, otherwise: int) -> int:
    if _by_torchrun():
        # Without torchrun's other variables, whoever set these two started one process on each node.
        return int(os.environ.get(of_torchrun, otherwise))
    return int(os.environ[of_srun]) if by_srun() else otherwise
