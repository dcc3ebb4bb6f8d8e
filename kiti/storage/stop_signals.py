"""The signals that ask a run to stop: those of schedulers, submitit, terminals and `kill`."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from kiti.storage.exit_status import ExitStatus

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]


def handle(handler: Handler) -> dict[int, object]:
    """Call `handler` on each of them from now on. Returns what was called before, for `restore`.

    Ignored signals stay ignored, as nohup requires. Processes that are forked from this one, such as those that read
    images, do not call it: a scheduler signals every process of a job, and they are needed until the run has saved.
    Outside the main thread, where Python has no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    owner = os.getpid()

    def in_this_process(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handler(number, frame)

    heeded = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, in_this_process) for number in heeded}


def restore(before: dict[int, object]) -> None:
    """Undo `handle`."""
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]  # as signal.signal returned it


def leave_at_once(message: str) -> None:
    """End with ExitStatus.STOPPED and a line on stderr on each of them: where nothing has to be saved."""

    def leave(number: int, frame: FrameType | None) -> None:
        # A second signal must not interrupt the clean-up.
        for stopping in STOPPING:
            signal.signal(stopping, signal.SIG_IGN)
        print(message, file=sys.stderr, flush=True)
        sys.exit(ExitStatus.STOPPED)

    handle(leave)
