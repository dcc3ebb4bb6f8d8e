"""Run directories, `runs/<experiment>/<config hash>/seed-<n>`: their locks and contents."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kiti.storage.records import FILE_NAME

LOCKED = 75  # exit status: another process is running this run (EX_TEMPFAIL)


def rank() -> int:
    """This process's rank among those started together by torchrun or srun."""
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


def finished(run_dir: Path) -> bool:
    return (run_dir / FILE_NAME).exists()


@contextmanager
def locked_run_dir(run_dir: Path) -> Iterator[Path]:
    """Create a run's directory if needed and lock it until the block or the process ends. Rank 0 locks for all ranks.

    Exits with status LOCKED and a one-line message if another process holds the lock.
    """
    if rank() != 0:
        yield run_dir
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run_dir.parent / f".{run_dir.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(
            f"{run_dir}: another process is running this run; wait for it, or change the seed",
            file=sys.stderr,
        )
        sys.exit(LOCKED)
    try:
        yield run_dir
    finally:
        lock.release()


def set_aside(run_dir: Path) -> Path | None:
    """Rename an earlier run's directory to `seed-<n>.aside-<k>` to keep it, and return the new path."""
    if not run_dir.exists() or not any(run_dir.iterdir()):
        return None
    taken = {path.name for path in run_dir.parent.iterdir()}
    number = next(k for k in range(len(taken) + 1) if f"{run_dir.name}.aside-{k}" not in taken)
    return run_dir.rename(run_dir.with_name(f"{run_dir.name}.aside-{number}"))
