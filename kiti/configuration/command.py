"""Turns `run(composed)` into a Hydra program that reports every input error in one line."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from kiti.configuration import explain
from kiti.configuration.compose import Composed, check, known_keys, search_path
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF
from kiti.data import DataError
from kiti.storage import stop_signals
from kiti.storage.exit_status import ExitStatus
from kiti.units import plugins

# Flags besides Hydra's own, and the overrides they stand for.
_FLAGS = {"--again": "resume=never"}


def command(config_name: str) -> Callable[[Callable[[Composed], ExitStatus]], Callable[[], None]]:
    """A program around `run(composed)` that exits with the status it returns, and with BAD_INPUT after an input error.

    HYDRA_FULL_ERROR=1 in the environment shows the full traceback instead. Other errors always show it.
    """

    def wrap(run: Callable[[Composed], ExitStatus]) -> Callable[[], None]:
        def task(node: DictConfig) -> ExitStatus:
            try:
                status = run(check(node))
            except (ConfigError, DataError, InstantiationException) as error:
                # A sweep reports it at its end; a single run exits here, before Hydra adds a line of its own.
                if whole_trace or HydraConfig.get().mode == RunMode.MULTIRUN or not _about_input(error):
                    raise
                leave(error)
            if HydraConfig.get().mode != RunMode.MULTIRUN and status != ExitStatus.FINISHED:
                sys.exit(status)
            return status

        def leave(error: BaseException) -> NoReturn:
            print(f"kiti-{config_name}: {explain.line(error, lambda: known_keys(sys.argv[1:]))}", file=sys.stderr)
            sys.exit(ExitStatus.BAD_INPUT)

        whole_trace = os.environ.get("HYDRA_FULL_ERROR") == "1"

        def main() -> None:
            stop_signals.leave_at_once("stopped before training; the same command starts again")
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing a long message
            try:
                given = plugins.take([_FLAGS.get(argument, argument) for argument in sys.argv[1:]])
                if {"-h", "--help"} & set(given):
                    print(usage(sys.modules[run.__module__].__doc__ or ""))
                    return
                sys.argv[1:] = [*given, *search_path()]
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(task)()
            except (ConfigError, DataError, HydraException, OmegaConfBaseException) as error:
                if whole_trace or not _about_input(error):
                    raise
                leave(error)
            except plugins.PluginError as error:
                leave(ConfigError(str(error)))
            except ValueError as error:  # how Hydra says that data=null is no option
                if whole_trace or "Config group override" not in str(error):
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
    lines.append("Any value: <group>.<key>=<value>. Full configuration: add --cfg job --resolve. Sweeps: -m.")
    lines.append(
        "--again: set the earlier run aside. --plugin PATH: use units from a Python file or package outside kiti."
    )
    return "\n".join(lines)


def _about_input(error: BaseException) -> bool:
    """A constructor rejects a value with a ValueError; any other failure in a constructor is a bug."""
    return not isinstance(error, InstantiationException) or isinstance(error.__cause__, ValueError)
