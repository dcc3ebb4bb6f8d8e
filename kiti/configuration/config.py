"""From overrides to one checked configuration: compose with Hydra, validate against the schema, hash.

Nothing here imports torch but `build_model`: what is wrong with a key or a value is said in one line within a second.
Only whether collision_heads divides D the model itself says, which takes as long as torch takes to import.
"""

import difflib
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from kiti.configuration.locations import CONF, working_root
from kiti.configuration.schema import TAGS, Config
from kiti.data import DataError

_PLAIN = re.compile(r"[A-Za-z_][\w.]*\.[\w.]*=[^\[\]{}(),]*$")  # a.b=value: neither a group choice nor +, ~, lists

OmegaConf.register_new_resolver("kiti_root", lambda: str(working_root()), replace=True)
OmegaConf.register_new_resolver(
    "kiti_quotient", lambda whole, part, times=1: _quotient(whole, part, times), replace=True
)


def _quotient(whole: Any, part: int, times: int = 1) -> int:
    """times whole // part, at least 1; of what is no whole number the schema complains, under its own key."""
    return max(1, times * whole // part) if isinstance(whole, int) else 1


class ConfigError(ValueError):
    """What is wrong with a configuration, where, and what would do, in one line."""


@dataclass(frozen=True)
class Composed:
    """One run as configured.

    Attributes:
        checked: the validated configuration.
        config: the same as a plain dict, without the seed and this machine's places: what a record keeps.
        hash: 12 hex digits over everything that determines the result but the seed.
    """

    checked: Config
    node: DictConfig
    config: dict[str, Any]
    hash: str

    @property
    def seed(self) -> int:
        return self.checked.seed

    @property
    def experiment(self) -> str:
        return self.checked.experiment

    @property
    def scale(self) -> str:
        return self.checked.scale

    @property
    def runs_dir(self) -> Path:
        return Path(self.checked.runs_dir)

    @property
    def seeds(self) -> range:
        """The seeds that this one process trains."""
        return range(self.seed, self.seed + self.checked.replicas)

    @property
    def run_dir(self) -> Path:
        return self.run_dir_of(self.seed)

    def run_dir_of(self, seed: int) -> Path:
        """Where the run of this configuration with another seed leaves its record."""
        return self.runs_dir / self.experiment / self.hash / f"seed-{seed}"


def check(node: DictConfig) -> Composed:
    """Validate a composed node. Raises ConfigError naming the first key that is wrong."""
    if missing := OmegaConf.missing_keys(node):
        key = sorted(missing)[0]
        raise ConfigError(f"{key}: missing; give it as {key}=<value>")
    try:
        plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    try:
        checked = Config.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(_explain(error, plain)) from error
    digest = hashlib.sha256(json.dumps(checked.identity(), sort_keys=True).encode()).hexdigest()[:12]
    places: Any = {
        **dict.fromkeys(("seed", "replicas", "runs_dir", "data_dir"), True),
        "data": {"seed", "data_dir", "path", "replicas", "workers", "eval_batch_size"},
        "model": {"seed", "replicas", "resolution"},
    }
    config = checked.model_dump(mode="json", by_alias=True, exclude=places)
    return Composed(checked=checked, node=node, config=config, hash=digest)


def compose(overrides: Sequence[str], config_name: str = "train") -> Composed:
    """Compose `conf/<config_name>.yaml` with Hydra overrides and check it. Raises ConfigError.

    Values are set on a copy of what Hydra composed of the groups. Hydra takes 0.2 s for each composition, and to read
    a table would take twice as long: ko/table1 8.9 s for 4.3, kitinet/figure6 5.6 for 2.8.
    """
    values = [o for o in overrides if _PLAIN.match(o)]
    choices = tuple(o for o in overrides if o not in values)
    try:
        node = deepcopy(_compose(choices, config_name))
        for override in OverridesParser.create().parse_overrides(values):
            if OmegaConf.select(node, override.key_or_group, default=None, throw_on_missing=False) is None:
                node = _compose(tuple(overrides), config_name)  # let Hydra say what is wrong with it
                break
            OmegaConf.update(node, override.key_or_group, override.value())
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, overrides)) from error
    return check(node)


@cache  # a table's cells differ in a value or two
def _compose(choices: tuple[str, ...], config_name: str) -> DictConfig:
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(config_name, overrides=list(choices))


def build_model(composed: Composed, residual: Callable[[], Any] | None = None) -> Any:
    """The model with the configured residual at its seams, or with another one. Imports torch.

    Raises ConfigError where the model has no place for such a residual.
    """
    node = composed.node
    try:
        return hydra.utils.instantiate(node.model, residual=residual or hydra.utils.instantiate(node.residual))
    except InstantiationException as error:
        from kiti.models.seam import SeamError

        if isinstance(error.__cause__, SeamError):
            raise ConfigError(str(error.__cause__)) from error
        raise


def command(config_name: str) -> Callable[[Callable[[Composed], None]], Callable[[], None]]:
    """Turn `run(composed)` into a Hydra program whose every complaint about its input is one line and exit status 2.

    HYDRA_FULL_ERROR=1 in the environment shows the whole trace instead. Errors that are not about the input always do.
    """

    def wrap(run: Callable[[Composed], None]) -> Callable[[], None]:
        def task(node: DictConfig) -> None:
            try:
                run(check(node))
            except (ConfigError, DataError, InstantiationException) as error:
                # A sweep tells of it at its end; a single run leaves here, before Hydra adds a line of its own.
                if whole_trace or HydraConfig.get().mode == RunMode.MULTIRUN or not _about_input(error):
                    raise
                leave(error)

        def leave(error: BaseException) -> NoReturn:
            print(f"kiti-{config_name}: {explain(error, sys.argv[1:])}", file=sys.stderr)
            sys.exit(2)

        whole_trace = os.environ.get("HYDRA_FULL_ERROR") == "1"

        def main() -> None:
            if {"-h", "--help"} & set(sys.argv[1:]):
                print(usage(sys.modules[run.__module__].__doc__ or ""))
                return
            os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing a page
            try:
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(task)()
            except (ConfigError, DataError, HydraException, OmegaConfBaseException) as error:
                if whole_trace or not _about_input(error):
                    raise
                leave(error)

        return main

    return wrap


def usage(description: str) -> str:
    """`description`, then every group with its options; no composition, so that it needs no experiment."""
    lines = [description.strip(), "", "Groups (group=option) and their options, from conf/:"]
    for group in sorted(path for path in CONF.iterdir() if path.is_dir()):
        options = ", ".join(sorted(path.stem for path in group.glob("*.yaml") if not path.stem.startswith("_")))
        lines.append(f"  {group.name:12s} {options}")
    lines.append("Any value: <group>.<key>=<value>. The whole configuration: add --cfg job --resolve. Sweeps: -m.")
    return "\n".join(lines)


def _about_input(error: BaseException) -> bool:
    """A constructor that refuses a value says so by ValueError; any other failure in one is a fault of the code."""
    return not isinstance(error, InstantiationException) or isinstance(error.__cause__, ValueError)


def explain(error: BaseException, overrides: Sequence[str]) -> str:
    """One line for whatever composing `overrides` can raise: what, where, what would do."""
    if isinstance(error, ConfigError | DataError):
        return str(error)
    text = str(error)
    if isinstance(error, InstantiationException):
        node = re.search(r"full_key: (\S+)", text)
        return f"{node.group(1)}: {error.__cause__}" if node else str(error.__cause__)
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(unknown.group(1), overrides)
    if group := re.search(r"In '[^']*': Could not find '([^']+)'", text):
        return f"{group.group(1).replace('/', '=')}: no such option; there are {_options(text)}"
    if "You must specify" in text:
        name = re.search(r"specify '([^']+)'", text)
        return f"{name.group(1) if name else 'a group'}=<option> is missing; there are {_options(text)}"
    return _first_line(error)


def _options(text: str) -> str:
    """The options that Hydra lists, one a line, before it tells its search path; _… is for others to inherit."""
    return ", ".join(re.findall(r"^\t([^\W_]\w*)$", text, re.MULTILINE))


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n")[0].split()) or type(error).__name__


def _unknown_key(key: str, overrides: Sequence[str]) -> str:
    choices = tuple(o for o in overrides if "=" in o and "." not in o.split("=")[0] and "," not in o)
    try:
        known = _flat(OmegaConf.to_container(_compose(choices, "train"), resolve=False))
    except (HydraException, OmegaConfBaseException):
        known = []
    parent = key.rsplit(".", 1)[0] + "."
    close = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    siblings = [k for k in known if k.startswith(parent) and not k.endswith("_")]
    hint = f"close: {', '.join(close)}" if close else f"there are {', '.join(siblings[:12])}" if siblings else ""
    return f"{key}: no such key" + (f"; {hint}" if hint else "")


def _flat(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    return [name for key, child in node.items() for name in _flat(child, f"{prefix}.{key}" if prefix else str(key))]


def _explain(error: ValidationError, plain: dict[str, Any]) -> str:
    """`residual.coll_coef=1.5: Input should be less than or equal to 1`."""
    # Where a group is a union, pydantic may complain once for each member; the deepest complaint is the one meant.
    paths = [_path(complaint["loc"], plain) for complaint in error.errors()]
    first, path = max(
        ((c, p) for c, p in zip(error.errors(), paths, strict=True) if p[:1] == paths[0][:1]),
        key=lambda pair: len(pair[1]),
    )
    where = ".".join(path)
    message = first["msg"].removeprefix("Value error, ")
    if not path:
        return message
    if first["type"] == "extra_forbidden":
        return f"{where}: no such key for {_lookup(plain, [*path[:-1], '_target_']) or 'this option'}"
    if first["type"] == "missing":
        return f"{where}: missing; give it as {where}=<value>"
    if first["type"] in {"model_type", "union_tag_not_found", "union_tag_invalid"}:
        return f"{where}: {message}; choose one with {path[0]}=<option>, options stand in conf/{path[0]}/"
    value = _lookup(plain, path)
    shown = f"={value}" if not isinstance(value, dict) else ""
    return f"{where}{shown}: {message[0].lower() + message[1:]}"


def _path(loc: tuple[int | str, ...], plain: dict[str, Any]) -> list[str]:
    """The key path of a pydantic location, without the union members' names that pydantic puts between."""
    path: list[str] = []
    node: Any = plain
    for position, part in enumerate(loc):
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]  # type: ignore[index]
        elif position < len(loc) - 1 or "." in str(part) or "[" in str(part) or part in TAGS:
            continue
        path.append(str(part))
    return path


def _lookup(plain: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(plain, dict):
            plain = plain.get(part)
        elif isinstance(plain, list):
            plain = plain[int(part)]
        else:
            return None
    return plain
