"""Python processes that need not import torch again: each is forked from a server that already has.

Imports dominate a run's start-up: some 14 CPU seconds, where a run of `make pde` takes 18. On two busy cores, a smoke
run of Burgers took 6 seconds forked and 30 with `subprocess` (medians of six, interleaved).
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from kiti.storage import stop_signals

# Imported by every run, and most of its start-up. Nothing from kiti: a run must read its current sources.
_PRELOADED = ["torch", "torchvision", "torchmetrics", "pytorch_lightning"]
_THREADS = "OMP_NUM_THREADS"

_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(_PRELOADED)


class Forked:
    """`python <command>` in its own session, with output appended to `log` and empty input.

    Args:
        command: -m and a module, or a file; then its arguments.
        environment: its variables; of those that set thread counts, only `OMP_NUM_THREADS` has an effect.
    """

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        # Not daemonic: if this process is killed, a run still continues until it finishes or has saved.
        self._process: BaseProcess = _fork.Process(target=_become, args=(command, dict(environment), log), daemon=False)
        if multiprocessing.get_start_method(allow_none=True) not in (None, *multiprocessing.get_all_start_methods()):
            # A worker of joblib tells its children to use a method that they do not have.
            multiprocessing.set_start_method("forkserver", force=True)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        resource_tracker.ensure_running()  # which unblocks some
        # SLURM signals every process of a job; the server must outlive that, as it tells how the run has ended.
        signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals.STOPPING)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def poll(self) -> int | None:
        """Its exit status, -n after signal n; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.pid is not None and self.poll() is None:
            os.kill(self._process.pid, number)

    def wait(self) -> None:
        self._process.join()


def _become(command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
    os.setsid()  # Ctrl-C in the terminal reaches only the launcher, which passes it on as SIGTERM
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the server blocks what stops a run
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, log, os.O_WRONLY | os.O_APPEND),
        (2, log, os.O_WRONLY | os.O_APPEND),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # multiprocessing closed it
    os.environ.clear()  # the server has the variables from when it was started
    os.environ.update(environment)
    import torch  # already loaded

    torch.set_num_threads(int(environment.get(_THREADS, torch.get_num_threads())))
    try:
        if command[0] == "-m":
            sys.argv = [*command[1:]]
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [*command]
            runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing skips them
        sys.stdout.flush()
        sys.stderr.flush()
