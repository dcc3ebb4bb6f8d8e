"""Run directories, `runs/<experiment>/<config hash>/seed-<n>`: their locks and contents."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kiti.storage.exit_status import ExitStatus
from kiti.storage.processes import rank
from kiti.storage.records import FILE_NAME

_LOCK_SECONDS = 1.0  # `locked` holds it for a moment
STATUS = "status.json"


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


def set_aside(path: Path) -> Path | None:
    """Rename an earlier run's directory, or a file of it, to `<name>.aside-<k>` to keep it, and return the new path.

    None if there is nothing to keep: no such path, or an empty directory.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    taken = {other.name for other in path.parent.iterdir()}
    number = next(k for k in range(len(taken) + 1) if f"{path.name}.aside-{k}" not in taken)
    return path.rename(path.with_name(f"{path.name}.aside-{number}"))


def read_status(run_dir: Path) -> dict[str, Any]:
    """The valid entries of `status.json`: "state", "step", "total" and "loss". Empty without such a file."""
    try:
        status = json.loads((run_dir / STATUS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(status, dict):
        return {}
    valid = {
        "state": lambda value: isinstance(value, str) and value.isalpha(),
        "step": lambda value: isinstance(value, int) and 0 <= value < 2**63,
        "total": lambda value: isinstance(value, int) and 0 <= value < 2**63,
        "loss": lambda value: isinstance(value, float),
    }
    return {key: status[key] for key, check in valid.items() if key in status and check(status[key])}
