"""Hydra's command line as kiti's commands take it: what is rewritten before Hydra reads it, and what is refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from kiti.configuration.explain import ConfigError

_FLAGS = ("run", "multirun", "resolve", "shell_completion", "hydra_help")
_SETTINGS = ("cfg", "package", "info", "config_path", "config_name", "config_dir")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

# Dictionaries of Hydra's to which a key may be added. Hydra wants `++` for that, and says "no such key" otherwise.
_OPEN = re.compile(r"hydra\.(job\.env_set|callbacks|job_logging|hydra_logging)\b")
_DOTTED = re.compile(r"\+{0,2}[A-Za-z_]\w*(\.\w+)+$")


@dataclass(frozen=True)
class Given:
    """`arguments` for Hydra, whether they ask for a sweep, and the keys with several values."""

    arguments: list[str]
    sweeping: bool
    swept: tuple[str, ...]


def prepared(arguments: Sequence[str]) -> Given:
    """Raises ConfigError or HydraException for what cannot work."""
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    # Flags may stand between overrides, and --info before one, which argparse would take for its value.
    options = parser.parse_intermixed_args(list(_informed(arguments)))
    if options.experimental_rerun is not None:
        raise ConfigError(
            "--experimental-rerun is not offered: it unpickles a file, which can run any code; "
            "a run's record.json lists the overrides that repeat it"
        )
    if options.package is not None and options.cfg is None:
        raise ConfigError(f"--package {options.package} says what --cfg shows: add --cfg job")
    flags = [f"--{name.replace('_', '-')}" for name in _FLAGS if getattr(options, name)]
    for name in _SETTINGS:
        if (value := getattr(options, name)) is not None:
            flags.append(f"--{name.replace('_', '-')}={value}")
    if options.shell_completion:  # takes install=bash, which is no override
        return Given([*flags, *options.overrides], False, ())
    overrides = OverridesParser.create().parse_overrides(
        [f"++{one}" if _OPEN.match(one) else one for one in options.overrides]
    )
    if options.hydra_help:  # composes nothing but Hydra's own configuration
        return Given([*flags, *(_line(one) for one in overrides if one.is_hydra_override())], False, ())
    for one in overrides:
        if one.key_or_group in {"experiment", "scale"} and isinstance(one.value(), list):
            raise ConfigError(f"{_line(one)}: one option; of several a sweep makes a run each: -m {_unlisted(one)}")
    sweeping = options.multirun or any(
        one.key_or_group == "hydra.mode" and str(one.value()).upper().endswith("MULTIRUN") for one in overrides
    )
    swept = tuple(one.key_or_group for one in overrides if one.is_sweep_override())
    if swept and not sweeping and not (options.cfg or options.info):
        several = next(_line(one) for one in overrides if one.is_sweep_override())
        key, _, values = several.partition("=")
        listed = "" if "(" in values else f"; a list is {key}=[{values}]"
        raise ConfigError(f"{several}: several values need -m, which makes a run of each{listed}")
    return Given([*flags, *(_for_a_sweep(one) if sweeping else _line(one) for one in overrides)], sweeping, swept)


def _informed(arguments: Sequence[str]) -> Sequence[str]:
    following = [*arguments[1:], ""]
    return [
        "--info=all" if one in {"--info", "-i"} and after not in _INFO else one
        for one, after in zip(arguments, following, strict=True)
    ]


def _for_a_sweep(override: Override) -> str:
    """The override as the sweep's members get it.

    Hydra first composes what all members have in common, without the swept overrides; a value of a group that a swept
    one brings (data.n_train with experiment=burgers,heat) has no key there. A choice of one waits for the members.
    """
    line = _line(override)
    if override.is_hydra_override():
        return line
    if isinstance(glob := override.value(), Glob):  # options that begin with _ are parts of others
        include, exclude = (",".join(map(str, names)) for names in (glob.include, [*glob.exclude, "_*"]))
        return f"{line.partition('=')[0]}=glob([{include}],exclude=[{exclude}])"
    key, _, value = line.partition("=")
    if override.is_sweep_override() or not value or not _DOTTED.match(key):
        return line
    waiting = f"{key}=choice({value})"
    try:
        OverridesParser.create().parse_overrides([waiting])
    except HydraException:
        return line
    return waiting


def _unlisted(override: Override) -> str:
    key, _, values = _line(override).partition("=")
    return f"{key}={values.strip('[]')}"


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _refuse(message: str) -> NoReturn:
    raise ConfigError(message.removeprefix("argument "))
