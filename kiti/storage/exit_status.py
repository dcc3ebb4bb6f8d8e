"""The exit statuses of kiti's commands."""

from collections.abc import Iterable
from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended. docs/stopping.md documents them for scripts."""

    FINISHED = 0
    FAILED = 1
    BAD_INPUT = 2
    DIVERGED = 3  # recorded, but a metric is not finite
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
