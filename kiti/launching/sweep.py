"""A sweep, `-m`: Hydra decides what its members are and its launcher where they run; each is a process of its own.

So a member that fails, or that another process is running, does not end the others. A member reports in a file below
`hydra.sweep.dir`, as launchers may run it in another process or on another machine; a file there asks it to stop.
"""

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from kiti.configuration import scales
from kiti.configuration.compose import Composed, check
from kiti.configuration.explain import ConfigError, first_line
from kiti.launching import run_log, sweep_summary
from kiti.launching.launch import Run
from kiti.launching.submitit_signals import SubmititSignals
from kiti.launching.sweep_summary import Member
from kiti.launching.worker_process import Forked
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus, gravest
from kiti.storage.processes import rank, world_size

_POLL_SECONDS = 0.2
_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

# Hydra's settings that a member's own process gets too.
_PASSED_ON = ("hydra.searchpath", "hydra/job_logging", "hydra.job_logging", "hydra.verbose", "hydra.job.name")


class Sweep:
    """The members of one command line with -m; pickled into the processes of launchers.

    Args:
        module: what a member runs, with its overrides: kiti.train.
        swept: the keys with several values, which name a member.
        trace: whether members show tracebacks for errors in their input.
        recorded: whether a member leaves the record of a run, with a metric.
    """

    def __init__(self, module: str, swept: tuple[str, ...], trace: bool, recorded: bool = True) -> None:
        self.module, self.swept, self.trace, self.recorded = module, swept, trace, recorded
        self.name = f"members-{uuid4().hex[:8]}"
        self.folder: Path | None = None
        self.expected: list[list[str]] | None = None
        self.problem: Exception | None = None
        self.asked = 0  # how often to stop
        _SWEEPS[self.name] = self

    @property
    def arguments(self) -> list[str]:
        """What it adds to Hydra's command line."""
        callback = f"++hydra.callbacks.{self.name.replace('-', '_')}"
        return [f"{callback}._target_={Begun.__module__}.Begun", f"{callback}.name={self.name}"]

    def run(self, start: Callable[[], None]) -> ExitStatus:
        """`start` Hydra, which makes the members, and report how they ended. Signals stop it: members save.

        Raises ConfigError if there is nothing to do; what `start` raises, if no member has begun.
        """
        if world_size() > 1:
            raise ConfigError(
                f"-m is one process, which starts those of its members, and this is one of {world_size()}; "
                "give each member to torchrun or srun, or use hydra/launcher=submitit_slurm"
            )
        requests = _Requests()
        with requests.awaited(self._ask_to_stop):
            ended: Exception | None = None
            try:
                start()
            except Exception as error:  # a launcher's too: of the members that have begun, all are reported
                if self.trace or not self._begun():
                    raise
                ended = error
        if self.problem is not None:
            raise self.problem
        members = self._members()
        console = Console(stderr=True)
        if ended is not None:
            console.print(f"{type(ended).__name__}: {first_line(ended)}", markup=False, highlight=False, soft_wrap=True)
        sweep_summary.show(members, self.swept, Console(), console)
        if requests.count:
            return ExitStatus.STOPPED  # the same command goes on, also with what has failed
        statuses = [ExitStatus.FAILED if one.status is None else one.status for one in members]
        return gravest([*statuses, ExitStatus.FAILED] if ended else statuses)

    def begins(self, config: DictConfig) -> None:
        """Called by Hydra in the process of the command, before the sweep."""
        self.folder = Path(str(config.hydra.sweep.dir)).absolute() / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ask_to_stop(self.asked)
        if config.hydra.sweeper._target_ == f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
            params = config.hydra.sweeper.params or {}
            self.swept += tuple(key for key in params if key not in self.swept)
            lines = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
            loader = GlobalHydra.instance().config_loader()
            parser = OverridesParser.create(config_loader=loader)
            overrides = parser.parse_overrides(lines)
            [self.expected] = BasicSweeper.split_arguments(overrides, None)
            for one in overrides:
                if one.is_sweep_override() and not list(one.sweep_string_iterator()):
                    raise ConfigError(_nothing(one.key_or_group, loader.get_group_options))

    def member(self, node: DictConfig) -> float | None:
        """Run the member that Hydra has composed as `node`, in a process of its own; the metric if it finished."""
        hydra = HydraConfig.get()
        folder = Path(str(hydra.sweep.dir)).absolute() / self.name
        if _asked(folder):
            return None
        signals = SubmititSignals()
        member = Member(hydra.job.num, list(hydra.overrides.task))
        _write(member, folder)
        label = member.label(self.swept)
        try:
            scales.check(node, hydra.runtime)
            composed = check(node)
        except ConfigError as error:
            member.status, member.reason = ExitStatus.BAD_INPUT, str(error)
        else:
            self._in_a_process(composed, member, folder, label, signals)
        _write(member, folder)
        _say(f"{member.state} after {member.seconds:.0f} s: {label}{member.outcome}")
        if "SUBMITIT_FOLDER" in os.environ and member.status:
            # The scheduler shall see it; after submitit has stored the result.
            atexit.register(os._exit, int(member.status))
        signals.pass_on(stopped=member.status == ExitStatus.STOPPED)
        return member.value

    def _in_a_process(
        self, composed: Composed, member: Member, folder: Path, label: str, signals: SubmititSignals
    ) -> None:
        run = self._process(composed, member)
        environment = {**os.environ}
        if not self.trace:
            environment.pop("HYDRA_FULL_ERROR", None)
        member.log = run.log
        _write(member, folder)
        _say(f"started {label} (log: {run.log})")
        begun = time.monotonic()
        output = run_log.begin(run.log, run.command)
        process = Forked(run.command, environment, run.log)
        sent = 0
        try:
            while (code := process.poll()) is None:
                if (asked := max(_asked(folder), signals.requested is not None)) > sent:
                    process.send_signal(signal.SIGTERM if asked == 1 else signal.SIGKILL)
                    sent = asked
                time.sleep(_POLL_SECONDS)
        finally:  # an error here must not leave an orphaned run
            process.send_signal(signal.SIGTERM)
            process.wait()
        member.seconds = time.monotonic() - begun
        member.run_dirs = list(run.run_dirs) if self.recorded else []
        if code in tuple(ExitStatus):
            member.status = ExitStatus(code)
        else:  # by default a signal before the run listens ends it
            member.status = ExitStatus.STOPPED if sent and -code in stop_signals.STOPPING else ExitStatus.FAILED
        if member.status == ExitStatus.FAILED:
            killed = f"killed by {signal.Signals(-code).name}; last line: " if code < 0 else ""
            member.reason = killed + (run_log.last_line(run.log, output) or "none")
        elif member.status == ExitStatus.BAD_INPUT:
            member.reason = run_log.last_line(run.log, output)

    def _process(self, composed: Composed, member: Member) -> Run:
        """As `module` is started by hand for this member alone."""
        hydra = HydraConfig.get()
        flags = [f"--config-name={hydra.job.config_name}"]
        for source in hydra.runtime.config_sources:
            if option := {"main": "--config-path", "command-line": "--config-dir"}.get(source.provider):
                flags.append(f"{option}={source.path}")
        passed = [one for one in hydra.overrides.hydra if one.lstrip("+~").startswith(_PASSED_ON)]
        passed.append(f"hydra.run.dir='{hydra.runtime.output_dir}'")
        name = run_log.name_of(composed, composed.seeds)
        name += "" if self.recorded else f".{self.module.rpartition('.')[2]}"
        name += f".rank-{rank()}" if rank() else ""
        return Run(
            member.label(self.swept),
            ("-m", self.module, *flags, *member.overrides, *passed),
            tuple(composed.run_dir_of(seed) for seed in composed.seeds),
            composed.runs_dir / "logs" / f"{name}.log",
        )

    def _begun(self) -> dict[int, Member]:
        found = map(sweep_summary.read, self.folder.glob("*.json")) if self.folder else ()
        return {one.number: one for one in found}

    def _members(self) -> list[Member]:
        """Those that have begun, and where Hydra's own sweeper made them, those that have not."""
        begun, waiting = self._begun(), dict(enumerate(self.expected or []))
        return [
            begun.get(number) or Member(number, waiting[number], ExitStatus.STOPPED, "not started")
            for number in sorted(begun.keys() | waiting.keys())
        ]

    def _ask_to_stop(self, count: int) -> None:
        self.asked = count
        if count and self.folder is not None:
            (self.folder / "stop").write_text(str(count))


_SWEEPS: dict[str, Sweep] = {}


class Begun(Callback):
    """Tells the sweep `name`, in its own process, where Hydra puts it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        sweep = _SWEEPS[self.name]
        try:
            sweep.begins(config)
        except Exception as error:  # of which Hydra would make a warning
            sweep.problem = error


class _Requests(stop_signals.Requests):
    """How often the sweep was asked to stop."""

    @contextmanager
    def awaited(self, ask: Callable[[int], None]) -> Iterator[None]:
        """Within the block, a thread takes the signals and calls `ask` with their number.

        They are blocked rather than handled: processes that launchers start inherit that, so that Ctrl-C in a terminal,
        which reaches them all, does not end the workers which wait for members to save.
        """
        resource_tracker.ensure_running()  # Forked would start it, and that unblocks signals
        taken = {number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
        over = Event()

        def take() -> None:
            while not over.is_set():
                came = signal.sigtimedwait(taken, _POLL_SECONDS)
                if came is not None and self.note(came.si_signo):
                    _say("stopping: members are saving; once more to kill them")
                    ask(self.count)

        thread = Thread(target=take, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing(group: str, options_of: Callable[[str], list[str]]) -> str:
    """Why a glob has no values, so that the sweep has no members."""
    options = [one for one in options_of(group) if not one.startswith("_")]
    there = f"matches none of {', '.join(options)}" if options else "chooses among a group's options, which this is not"
    return f"{group}: glob(...) {there}"


def _asked(folder: Path) -> int:
    """How often the sweep was asked to stop."""
    try:
        return int((folder / "stop").read_text() or 0)
    except FileNotFoundError:
        return 0


def _write(member: Member, folder: Path) -> None:
    if rank() == 0:
        sweep_summary.write(member, folder)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
