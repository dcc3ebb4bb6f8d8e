"""This process among those that torchrun or srun started together, read from the environment."""

import os


def rank() -> int:
    """This process's rank; 0 if it was started alone."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def world_size() -> int:
    """Number of processes started together by torchrun or srun; 1 without them."""
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    launched_by_srun = "SLURM_STEP_ID" in os.environ and "SLURM_PROCID" in os.environ
    return int(os.environ["SLURM_NTASKS"]) if launched_by_srun and "SLURM_NTASKS" in os.environ else 1


def local_world_size() -> int:
    """Number of these processes on this machine."""
    if "LOCAL_WORLD_SIZE" in os.environ:
        return int(os.environ["LOCAL_WORLD_SIZE"])
    return world_size() // int(os.environ.get("SLURM_STEP_NUM_NODES", "1")) if world_size() > 1 else 1
