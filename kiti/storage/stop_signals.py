"""The signals that ask a run to stop: those of schedulers, submitit, terminals and `kill`."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from kiti.storage.exit_status import ExitStatus

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object]
_SAME_REQUEST_SECONDS = 2.0


class Requests:
    """How often this process was asked to stop, and by which signal first.

    One request may arrive twice: from the terminal or a scheduler, and again through make.
    """

    def __init__(self) -> None:
        self.count = 0
        self.signal = 0
        self._last = -math.inf

    def note(self, number: int, frame: FrameType | None = None) -> bool:
        """Count the signal, and return whether it is a request of its own."""
        now = time.monotonic()
        another = now - self._last > _SAME_REQUEST_SECONDS
        self.count += another
        self._last = now
        self.signal = self.signal or number
        return another


def handle(handler: Handler) -> None:
    """Call `handler` on each of them from now on.

    Ignored signals stay ignored, as nohup requires. Processes that are forked from this one, such as those that read
    images, do not call it: a scheduler may signal every process of a job, and they are needed until the run has saved.
    Outside the main thread, where Python has no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    owner = os.getpid()

    def in_this_process(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handler(number, frame)

    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, in_this_process)


def ignore() -> None:
    """From now on nothing is stopped: where a process ends anyway, with a status that must not change."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)


def leave_at_once(message: str) -> None:
    """From now on end with ExitStatus.STOPPED and a line on stderr on each of them: where nothing has to be saved."""

    def leave(number: int, frame: FrameType | None) -> None:
        ignore()  # a second one must not interrupt the clean-up
        print(message, file=sys.stderr, flush=True)
        sys.exit(ExitStatus.STOPPED)

    handle(leave)


@contextmanager
def kept() -> Iterator[None]:
    """What a block does about signals ends with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # which Python cannot set: it is not Python's
                signal.signal(number, handler)
