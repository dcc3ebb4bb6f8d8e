"""Run directories, `runs/<experiment>/<config hash>/seed-<n>`: their locks and contents."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kiti.storage.exit_status import ExitStatus
from kiti.storage.processes import rank
from kiti.storage.records import FILE_NAME

_LOCK_SECONDS = 1.0  # `locked` holds it for a moment


def finished(run_dir: Path) -> bool:
    return (run_dir / FILE_NAME).exists()


def _lock(run_dir: Path) -> FileLock:
    return FileLock(run_dir.parent / f".{run_dir.name}.lock")


def locked(run_dir: Path) -> bool:
    """Whether a process has this run."""
    try:
        with _lock(run_dir).acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def locked_run_dir(run_dir: Path) -> Iterator[Path]:
    """Create a run's directory if needed and lock it until the block or the process ends. Rank 0 locks for all ranks.

    Exits with ExitStatus.LOCKED and a one-line message if another process holds the lock.
    """
    if rank() != 0:
        yield run_dir
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = _lock(run_dir)
    try:
        lock.acquire(timeout=_LOCK_SECONDS)
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
