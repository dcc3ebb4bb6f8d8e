"""Starts a table's missing runs: one process each, a few at a time, continuing after failures.

Exit status 0 with a record means finished; 3 with a record, finished but diverged; 75, stopped on request, to be
resumed; 4, another process is running this run; anything else, also 0 or 3 without a record, failed for the reason in
the last line of output.
"""

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from kiti.configuration import identity
from kiti.configuration.own_record import is_done
from kiti.launching import run_log
from kiti.launching.gpus import Shares, visible_gpus
from kiti.launching.launch_display import Live, Plain
from kiti.launching.worker_process import Forked
from kiti.report.table_runs import Plan, TableRun
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus, gravest
from kiti.storage.processes import alone
from kiti.storage.run_dirs import finished, locked, read_status

_POLL_SECONDS = 0.2
_TRIES = 3  # in a row, of a run that another process is said to have though nobody holds its lock

State = Literal["finished", "diverged", "failed", "stopped", "running elsewhere"]
_STATUS: dict[State, ExitStatus] = {
    "finished": ExitStatus.FINISHED,
    "diverged": ExitStatus.DIVERGED,
    "failed": ExitStatus.FAILED,
    "stopped": ExitStatus.STOPPED,
    "running elsewhere": ExitStatus.LOCKED,
}


@dataclass(frozen=True)
class Run:
    """One process to start: its `command` (the arguments of `python`), the directories of its records, and its log.

    It trains one run, or several seeds side by side; the first directory holds its status. Output is appended to `log`.
    """

    name: str
    command: tuple[str, ...]
    run_dirs: tuple[Path, ...]
    log: Path

    @property
    def run_dir(self) -> Path:
        return self.run_dirs[0]

    @property
    def finished(self) -> bool:
        """Whether its records exist."""
        return all(finished(run_dir) for run_dir in self.run_dirs)


@dataclass(frozen=True)
class Outcome:
    """How a run ended, after how many `seconds`, and the `reason` if it did not finish."""

    run: Run
    state: State
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Launch:
    """The outcomes of all runs; `signal` is the one that asked it to stop, else 0."""

    outcomes: list[Outcome]
    signal: int = 0

    @property
    def unfinished(self) -> list[Outcome]:
        """The outcomes without a record."""
        return [outcome for outcome in self.outcomes if outcome.state not in ("finished", "diverged")]

    @property
    def status(self) -> ExitStatus:
        """STOPPED if it was asked to stop: the same command goes on, also with what has failed. Else the gravest."""
        return ExitStatus.STOPPED if self.signal else gravest(_STATUS[outcome.state] for outcome in self.outcomes)


def missing_runs(*plans: Plan) -> list[Run]:
    """The runs of these tables without a sound record here, ordered by table, then by seed, so that pairs finish early.

    If one process can train many seeds side by side, consecutive seeds are one run.
    """
    configured: dict[Path, TableRun] = {}
    lacking: dict[Path, dict[int, tuple[int, int]]] = {}  # by configuration and seed: position in the order
    for number, plan in enumerate(plans):
        for run in plan.values():
            if isinstance(run, TableRun) and not run.misfit:
                folder = run.composed.run_dir.parent
                configured.setdefault(folder, run)
                for position, seed in enumerate(run.seeds):
                    if not is_done(run.composed, seed):
                        lacking.setdefault(folder, {}).setdefault(seed, (number, position))
    found: list[tuple[tuple[int, int], range, TableRun]] = []
    for folder, places in lacking.items():
        together = configured[folder].composed.checked.replicable
        for stretch in _stretches(sorted(places)) if together else [range(seed, seed + 1) for seed in places]:
            found.append((min(places[seed] for seed in stretch), stretch, configured[folder]))
    return [_run(run, stretch) for _, stretch, run in sorted(found, key=lambda one: one[0])]


def _stretches(numbers: Sequence[int]) -> list[range]:
    """Ascending numbers as ranges without gaps."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return [range(a, b + 1) for a, b in zip(starts, ends, strict=True)]


def default_jobs(missing: int) -> int:
    """One process per GPU, or per core without GPUs; at most one per missing run."""
    return max(1, min(len(visible_gpus()) or cores(), missing))


def cores() -> int:
    """The CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch(runs: Sequence[Run], jobs: int, console: Console) -> Launch:
    """Run all `runs`, `jobs` at a time, and show their progress on `console`. Each gets one of the GPUs, if any.

    Ctrl-C and the other signals of `stop_signals` are passed on as SIGTERM, on which runs save; this returns when all
    have saved. A second signal kills them.

    A run that another process has is awaited, and then started again: it is finished, or that process has left it.
    """
    if not runs:
        return Launch([])
    display = Live(console, len(runs)) if console.is_terminal else Plain(console, len(runs))
    threads = str(max(1, cores() // jobs))
    environment = {**alone(os.environ), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    gpus = Shares(visible_gpus())
    waiting, running, outcomes = deque(runs), list[_Child](), list[Outcome]()
    elsewhere, tries = list[Outcome](), Counter[str]()
    with _interruptions() as interruption, display:
        signalled = 0
        try:
            while running or ((waiting or elsewhere) and not interruption.count):
                while waiting and len(running) < jobs and not interruption.count:
                    child = _Child.start(waiting.popleft(), environment, gpus.take())
                    running.append(child)
                    display.started(child.run.name)
                if signalled < interruption.count:
                    signalled = interruption.count
                    for child in running:
                        child.process.send_signal(signal.SIGTERM if signalled == 1 else signal.SIGKILL)
                    display.stopping(len(running))
                for child in [child for child in running if child.process.poll() is not None]:
                    running.remove(child)
                    gpus.give_back(child.gpu)
                    outcome = child.outcome(stopping=bool(interruption.count))
                    if outcome.state == "running elsewhere":
                        held = any(map(locked, child.run.run_dirs))
                        tries[child.run.name] = 0 if held else tries[child.run.name] + 1
                        if tries[child.run.name] < _TRIES:
                            elsewhere.append(outcome)
                            display.elsewhere(child.run.name)
                            continue
                    outcomes.append(outcome)
                    display.ended(child.run.name, _one_line(outcome))
                for outcome in [one for one in elsewhere if not any(map(locked, one.run.run_dirs))]:
                    elsewhere.remove(outcome)
                    waiting.append(outcome.run)
                display.update({child.run.name: child.status() for child in running})
                time.sleep(_POLL_SECONDS if running or elsewhere else 0)
        finally:  # an error here must not leave orphaned runs
            for child in running:
                child.process.send_signal(signal.SIGTERM)
            for child in running:
                child.process.wait()
    return Launch(outcomes + elsewhere, interruption.signal)


def _run(configured: TableRun, seeds: range) -> Run:
    composed = configured.composed
    name = run_log.name_of(composed, seeds)
    together = [f"replicas={len(seeds)}"] if len(seeds) > 1 else []
    command = ("-m", "kiti.train", *configured.overrides, f"seed={seeds.start}", *together)
    run_dirs = tuple(configured.run_dir(seed) for seed in seeds)
    return Run(_title(configured, seeds), command, run_dirs, composed.runs_dir / "logs" / f"{name}.log")


def _title(configured: TableRun, seeds: range) -> str:
    """How a run is called on the screen: `burgers residual=kiti seed 3`."""
    overrides, _ = identity.split_overrides(configured.composed.checked, configured.overrides)
    overrides = [one for one in overrides if not one.startswith(("experiment=", "scale="))]
    which = f"seeds {seeds.start}–{seeds[-1]}" if len(seeds) > 1 else f"seed {seeds.start}"
    return " ".join([configured.composed.experiment, *overrides, which])


@dataclass
class _Child:
    run: Run
    process: Forked
    log_start: int
    begun: float
    gpu: Mapping[str, str]

    @classmethod
    def start(cls, run: Run, environment: Mapping[str, str], gpu: Mapping[str, str]) -> "_Child":
        begun_at = run_log.begin(run.log, run.command)
        return cls(run, Forked(run.command, {**environment, **gpu}, run.log), begun_at, time.monotonic(), gpu)

    def status(self) -> dict[str, Any]:
        """The run's own progress report; empty without one."""
        return read_status(self.run.run_dir)

    def outcome(self, stopping: bool) -> Outcome:
        code = self.process.poll()
        state: State = "failed"
        reason = ""
        if code == ExitStatus.FINISHED and self.run.finished:
            state = "finished"
        elif code == ExitStatus.DIVERGED and self.run.finished:
            state, reason = "diverged", "recorded, but a metric is not finite"
        elif code == ExitStatus.STOPPED or (
            stopping and code == -signal.SIGTERM
        ):  # the latter: before it had a handler
            state, reason = "stopped", "resumes from its checkpoint when started again"
        elif code == ExitStatus.LOCKED:
            state, reason = "running elsewhere", "another process has this run"
        elif code is not None and code < 0:
            reason = f"killed by {signal.Signals(-code).name}; last line: {self._last_line() or 'none'}"
        else:
            reason = self._last_line() or f"exit status {code}, no output"
        return Outcome(self.run, state, time.monotonic() - self.begun, reason)

    def _last_line(self) -> str:
        return run_log.last_line(self.run.log, self.log_start)


@contextmanager
def _interruptions() -> Iterator[stop_signals.Requests]:
    interruption = stop_signals.Requests()
    with stop_signals.kept():
        stop_signals.handle(interruption.note)
        yield interruption


def _one_line(outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"{outcome.run.name} {outcome.state} after {outcome.seconds:.0f} s{reason}"
