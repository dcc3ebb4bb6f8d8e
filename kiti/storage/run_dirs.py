"""Run directories, `runs/<experiment>/<config hash>/seed-<n>`: their locks and contents."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kiti.storage.exit_status import ExitStatus
from kiti.storage.processes import rank
from kiti.storage.records import FILE_NAME


def finished(run_dir: Path) -> bool:
    return (run_dir / FILE_NAME).exists()


@contextmanager
def locked_run_dir(run_dir: Path) -> Iterator[Path]:
    """Create a run's directory if needed and lock it until the block or the process ends. Rank 0 locks for all ranks.

    Exits with ExitStatus.LOCKED and a one-line message if another process holds the lock.
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
        sys.exit(ExitStatus.LOCKED)
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
