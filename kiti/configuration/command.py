"""Turns `run(composed)` into a Hydra program that reports every input error in one line."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kiti.configuration import hydra_options, scales
from kiti.configuration.compose import Composed, check, check_shown, explained, search_path
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF
from kiti.data import DataError
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus
from kiti.units import plugins

# Flags besides Hydra's own, and the overrides they stand for.
_FLAGS = {"--again": "resume=never"}

_LOG = logging.getLogger("kiti")


class Sweeping(Protocol):
    """What makes the members of `-m`: kiti.launching.sweep."""

    @property
    def arguments(self) -> list[str]:
        """What it adds to Hydra's command line."""

    def member(self, node: DictConfig) -> Any:
        """Make one, in any process."""

    def run(self, start: Callable[[], None]) -> ExitStatus:
        """`start` Hydra, which makes all, and report them."""


def command(
    config_name: str, sweep: Callable[[str, tuple[str, ...], bool], Sweeping]
) -> Callable[[Callable[[Composed], ExitStatus]], Callable[[], None]]:
    """A program around `run(composed)` that exits with the status it returns, and with BAD_INPUT after an input error.

    HYDRA_FULL_ERROR=1 in the environment shows the full traceback instead. Other errors always show it.

    Args:
        config_name: of conf/<config_name>.yaml; the program is kiti-<config_name>, the module kiti.<config_name>.
        sweep: makes the members of `-m`, from the module, the swept keys, and whether tracebacks are wanted.
    """

    def wrap(run: Callable[[Composed], ExitStatus]) -> Callable[[], None]:
        def task(node: DictConfig) -> None:
            try:
                scales.check(node, HydraConfig.get().runtime)
                composed = check(node)
                _LOG.info("%s, scale=%s: %s", composed.experiment, composed.scale, composed.run_dir)
                status = run(composed)
            except (ConfigError, DataError, InstantiationException) as error:
                if whole_trace or not _about_input(error):
                    raise
                leave(error)  # here, before Hydra adds a line of its own
            if status != ExitStatus.FINISHED:
                sys.exit(status)

        def leave(error: BaseException) -> NoReturn:
            print(f"kiti-{config_name}: {explained(error, sys.argv[1:])}", file=sys.stderr)
            sys.exit(ExitStatus.BAD_INPUT)

        whole_trace = os.environ.get("HYDRA_FULL_ERROR") == "1"

        def main() -> None:
            stop_signals.leave_at_once("stopped before training; the same command starts again")
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing a long message
            try:
                arguments = plugins.take([_FLAGS.get(argument, argument) for argument in sys.argv[1:]])
                if {"-h", "--help"} & set(arguments):
                    print(usage(sys.modules[run.__module__].__doc__ or ""))
                    return
                given = hydra_options.prepared(arguments)
                check_shown(given.arguments, config_name)
                program = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
                sys.argv[1:] = [*given.arguments, *search_path()]
                if given.sweeping:
                    members = sweep(f"kiti.{config_name}", given.swept, whole_trace)
                    sys.argv[1:] += members.arguments
                    sys.exit(members.run(program(members.member)))
                program(task)()
            except (ConfigError, DataError, HydraException, OmegaConfBaseException) as error:
                if whole_trace or not _about_input(error):
                    raise
                leave(error)
            except plugins.PluginError as error:
                leave(ConfigError(str(error)))
            except ValueError as error:  # how Hydra reports options that exclude each other, or data=null
                if whole_trace or not _raised_by_hydra(error):
                    raise
                leave(error)

        return main

    return wrap


def usage(description: str) -> str:
    """`description`, then every group with its options. Composes nothing, so it needs no experiment."""
    lines = [description.strip(), "", "Groups (group=option) and their options, from conf/:"]
    options: dict[str, set[str]] = {}
    for conf in (CONF, *plugins.folders("conf")):
        for path in conf.glob("*/*.yaml"):
            if not path.stem.startswith("_"):
                options.setdefault(path.parent.name, set()).add(path.stem)
    lines += [f"  {group:12s} {', '.join(sorted(options[group]))}" for group in sorted(options)]
    lines.append(_MORE)
    return "\n".join(lines)


_MORE = """
Any value: <group>.<key>=<value>. --again: set the earlier run aside. --plugin PATH: use units from a Python file or
package outside kiti.

Sweeps: -m, and several values: seed=0,1,2; 'seed=range(10)'; 'experiment=choice(burgers,heat)'; 'residual=glob(*)'.
Each member runs in its own process, with its own log; one that fails, or that another process is running, does not end
the others. At the end a table shows them all, and the exit status is the gravest of theirs. SIGTERM or Ctrl-C stops a
sweep: members save, and the same command goes on. hydra/launcher=joblib hydra.launcher.n_jobs=2 runs two at a time;
submitit_local and submitit_slurm need hydra-submitit-launcher.

Hydra's own options: --cfg job|hydra|all shows a configuration (--resolve, --package trainer), --info where it comes
from; --config-dir DIR adds YAML; -sc install=bash completes in the shell; hydra.verbose=true or hydra.verbose=[torch]
logs to stderr, hydra/job_logging=default to <hydra.run.dir>/<hydra.job.name>.log; hydra.job.env_set.NAME=value sets a
variable; hydra.callbacks.mine._target_=module.Class is told of jobs. --experimental-rerun is not offered."""


def _about_input(error: BaseException) -> bool:
    """A constructor rejects a value with a ValueError; any other failure in a constructor is a bug."""
    return not isinstance(error, InstantiationException) or isinstance(error.__cause__, ValueError)


def _raised_by_hydra(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("hydra.")
