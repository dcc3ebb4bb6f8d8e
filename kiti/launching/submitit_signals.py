"""Lets a member of a sweep save before submitit answers a signal of the scheduler."""

import os
import signal
import threading
from types import FrameType
from typing import Any

# submitit listens to SIGUSR2, or to what SUBMITIT_PREEMPT_SIGNAL names, and ignores SIGTERM.
_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)


class SubmititSignals:
    """Takes the signals from submitit until `pass_on`; outside submitit's processes it does nothing.

    By itself submitit would put the job into the queue again at once, whereupon SLURM kills what has not saved.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        """The first signal that came."""
        self._before: dict[int, Any] = {}
        if "SUBMITIT_FOLDER" in os.environ and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = self.requested or number

    def pass_on(self, stopped: bool) -> None:
        """Give the signals back to submitit. It answers the one that came if the member has `stopped` for it: to put
        the job into the queue again, it ends this process."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if handler is None else handler)
        if stopped and self.requested is not None and callable(answer := self._before[self.requested]):
            answer(self.requested, None)
