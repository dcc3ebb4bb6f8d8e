"""The exit statuses of kiti's commands."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum

from kiti.storage.processes import rank

EXIT_FILE = "KITI_EXIT_FILE"


class ExitStatus(IntEnum):
    """How a command ended. docs/stopping.md documents them for scripts."""

    FINISHED = 0
    FAILED = 1
    BAD_INPUT = 2
    DIVERGED = 3  # recorded, but a loss or a metric is not finite
    LOCKED = 4  # another process has this run
    STOPPED = 75  # saved its state; the same command resumes (EX_TEMPFAIL)


_GRAVITY = (
    ExitStatus.FINISHED,
    ExitStatus.DIVERGED,
    ExitStatus.LOCKED,
    ExitStatus.STOPPED,
    ExitStatus.BAD_INPUT,
    ExitStatus.FAILED,
)


def gravest(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """The status of a command that made several runs; FINISHED if there were none."""
    return max(statuses, key=_GRAVITY.index, default=ExitStatus.FINISHED)


@contextmanager
def noted() -> Iterator[None]:
    """Append "<rank> <exit status>" to the file that the environment's KITI_EXIT_FILE names, if any, when a block ends.

    torchrun ends with 1 whatever its processes end with, so scripts/launch_node.sh reads it there.
    """
    status = ExitStatus.FINISHED
    try:
        yield
    except BaseException as error:
        status = of_exception(error)
        raise
    finally:
        if path := os.environ.get(EXIT_FILE):
            with open(path, "a") as file:
                file.write(f"{rank()} {int(status)}\n")


def of_exception(error: BaseException) -> ExitStatus:
    """The status of a process that ends with this exception."""
    if not isinstance(error, SystemExit):
        return ExitStatus.FAILED
    if error.code is None:
        return ExitStatus.FINISHED
    return ExitStatus(error.code) if error.code in list(ExitStatus) else ExitStatus.FAILED
