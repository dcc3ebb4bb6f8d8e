"""From overrides to one checked configuration: compose with Hydra, validate against the schema, hash.

Only `build_model` imports torch, so errors in keys and values are reported in one line within a second. Whether
collision_heads divides D is checked by the model itself, which has to import torch first.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import ValidationError

from kiti.configuration import explain, identity, scales
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF, working_root
from kiti.configuration.schema import Config, validated
from kiti.units import plugins
from kiti.units.keys import FilesError

_PLAIN = re.compile(r"[A-Za-z_][\w.]*\.[\w.]*=[^\[\]{}(),]*$")  # a.b=value: neither a group choice nor +, ~, lists

OmegaConf.register_new_resolver("kiti_root", lambda: str(working_root()), replace=True)
OmegaConf.register_new_resolver("kiti_last", lambda number: int(number) - 1, replace=True)  # counted from 0
OmegaConf.register_new_resolver(
    "kiti_quotient", lambda whole, part, times=1: _quotient(whole, part, times), replace=True
)


def _quotient(whole: Any, part: int, times: int = 1) -> int:
    """times whole // part, at least 1; the schema reports other types under their own key."""
    return max(1, times * whole // part) if isinstance(whole, int) else 1


@dataclass(frozen=True)
class Composed:
    """The configuration of one run: `node` as Hydra composed it, `checked` after validation."""

    checked: Config
    node: DictConfig

    @cached_property
    def config(self) -> dict[str, Any]:
        """The part that a record keeps."""
        return identity.recorded(self.checked)

    @cached_property
    def hash(self) -> str:
        """12 hex digits over everything that affects the result except the seed."""
        return identity.config_hash(self.checked)

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
        """The seeds that this process trains."""
        return range(self.seed, self.seed + self.checked.replicas)

    @property
    def run_dir(self) -> Path:
        return self.run_dir_of(self.seed)

    def run_dir_of(self, seed: int) -> Path:
        """The directory of this configuration's run with the given seed."""
        return self.runs_dir / self.experiment / self.hash / f"seed-{seed}"


def check(node: DictConfig) -> Composed:
    """Validate a composed node. Raises ConfigError, which names the first invalid key."""
    try:
        for key, field in Config.model_fields.items():
            if key not in node and field.is_required():  # before what interpolates it is resolved
                raise ConfigError(f"{key}: every run needs it, so ~{key} is not possible")
        if missing := missing_keys(node):
            values = " ".join(f"{key}=<value>" for key in missing)
            raise ConfigError(f"{', '.join(missing)}: missing; give {'them' if missing[1:] else 'it'} as {values}")
        plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
        return Composed(validated(plain), node)
    except InterpolationKeyError as error:
        raise ConfigError(
            f"{error.full_key}: {explain.first_line(error)}; do data, model and task go together?"
        ) from error
    except OmegaConfBaseException as error:
        raise ConfigError(explain.first_line(error)) from error
    except ValidationError as error:
        raise ConfigError(explain.invalid(error, plain)) from error


def compose(overrides: Sequence[str], config_name: str = "train", *, any_commit: bool = False) -> Composed:
    """Compose `conf/<config_name>.yaml` with Hydra overrides and check it. Raises ConfigError.

    With `any_commit` a required commit of files on a hub may be missing: the cost of a run does not depend on it.

    Values are set on a copy of what Hydra composed from the groups. Hydra takes 0.2 s per composition; without the
    copy, reading a table takes twice as long: ko/table1 8.9 s instead of 4.3, kitinet/figure6 5.6 instead of 2.8.
    """
    values = [o for o in overrides if _PLAIN.match(o)]
    choices = tuple(o for o in overrides if o not in values)
    try:
        node = deepcopy(_composed(choices, config_name, search_path()))
        for override in OverridesParser.create().parse_overrides(values):
            if not _has(node, override.key_or_group):
                node = _composed(tuple(overrides), config_name, search_path())  # let Hydra report the error
                break
            OmegaConf.update(node, override.key_or_group, override.value())
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(explained(error, overrides)) from error
    if any_commit:
        for key in missing_keys(node):
            if key.endswith("commit"):
                OmegaConf.update(node, key, "0" * 40)
    return check(node)


def missing_keys(node: DictConfig) -> list[str]:
    """The keys that are ???, in their order. OmegaConf's own function fails where one refers to another."""
    found = []
    for key in map(str, node):
        if OmegaConf.is_interpolation(node, key):
            continue
        if OmegaConf.is_missing(node, key):
            found.append(key)
        elif isinstance(node[key], DictConfig):
            found += [f"{key}.{inner}" for inner in missing_keys(node[key])]
    return found


def _has(node: DictConfig, key: str) -> bool:
    """Whether `key` is there, possibly as null."""
    parent, _, name = key.rpartition(".")
    found = OmegaConf.select(node, parent, throw_on_missing=False)
    return isinstance(found, DictConfig) and name in found.keys()  # noqa: SIM118  # `in found` leaves out null


def search_path() -> tuple[str, ...]:
    """The override that lets Hydra find the YAML of enabled plug-ins, if any. Raises ConfigError."""
    try:
        places = [f"'file://{folder}'" for folder in plugins.folders("conf")]
    except plugins.PluginError as error:
        raise ConfigError(str(error)) from error
    return (f"hydra.searchpath=[{','.join(places)}]",) if places else ()


@cache  # the rows of a table differ in a value or two
def _composed(choices: tuple[str, ...], config_name: str, search_path: tuple[str, ...]) -> DictConfig:
    node = _with_hydra(choices, config_name, search_path)
    scales.check(node, node.hydra.runtime)
    with open_dict(node):
        del node["hydra"]
    return node


def _with_hydra(choices: tuple[str, ...], config_name: str, search_path: tuple[str, ...]) -> DictConfig:
    """What Hydra composes, with its own node `hydra`."""
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(config_name, overrides=[*choices, *search_path], return_hydra_config=True)


def explained(error: BaseException, arguments: Sequence[str]) -> str:
    """One line for an error from composing; for an unknown scale it lists those of the chosen experiment."""
    unknown = re.search(r"Could not find 'scale/([^']*)'", str(error))
    if unknown and not isinstance(error, ConfigError):
        others = tuple(o for o in overrides_among(arguments) if not o.startswith("scale="))
        try:
            node = _with_hydra(others, "train", search_path())
            return scales.unknown(unknown.group(1), node, node.hydra.runtime)
        except (ConfigError, HydraException, OmegaConfBaseException):
            pass  # the experiment is not known, or there is another error too; the line below lists all scales
    if re.search(r"Error resolving interpolation '[^']*experiment", str(error)):  # ~scale
        return "experiment and scale are one option each: experiment=<option> scale=<option>"
    return explain.line(error, lambda: known_keys(arguments))


def check_shown(arguments: Sequence[str], config_name: str) -> None:
    """Raise ConfigError if `--cfg` with these arguments would show a configuration without its scale's settings.

    Hydra shows what it composed and ends before the program could check it.
    """
    flags = {argument.split("=")[0] for argument in arguments if argument.startswith("-")}
    if flags & {"-c", "--cfg"} and not flags & {"-m", "--multirun", "-cd", "--config-dir"}:
        _composed(overrides_among(arguments), config_name, search_path())


def overrides_among(arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments of a command line that are neither flags nor the values of flags."""
    return tuple(one for one in arguments if one.startswith("~") or ("=" in one and not one.startswith("-")))


def known_keys(overrides: Sequence[str]) -> list[str]:
    """Every key of the configuration composed from the groups in `overrides`; empty if that fails."""
    choices = tuple(o for o in overrides if "=" in o and "." not in o.split("=")[0] and "," not in o)
    try:
        return explain.flat(OmegaConf.to_container(_composed(choices, "train", search_path()), resolve=False))
    except (ConfigError, HydraException, OmegaConfBaseException):
        return []


def check_files(composed: Composed) -> None:
    """ConfigError or DataError if what data and model need is missing or does not fit; does not import torch."""
    composed.checked.data.require()
    try:
        composed.checked.model.check_files(composed.checked)
    except FilesError as error:
        raise ConfigError(str(error)) from error


def build_model(composed: Composed, residual: Callable[[], Any] | None = None) -> Any:
    """The model with `residual`, by default the configured one, at its seams. Imports torch.

    Raises ConfigError if the model has no place for such a residual, or files that it needs do not fit.
    """
    from kiti.residual import Residual
    from kiti.seams.fitting import SeamError

    node, name = composed.node, composed.node.model._target_
    if "residual" not in inspect.signature(hydra.utils.get_object(name)).parameters:
        raise ConfigError(f"model._target_={name}: its constructor takes no `residual`; see docs/add-a-benchmark.md")
    try:
        model = hydra.utils.instantiate(node.model, residual=residual or hydra.utils.instantiate(node.residual))
    except InstantiationException as error:
        if isinstance(error.__cause__, SeamError | FilesError):
            raise ConfigError(str(error.__cause__)) from error
        raise
    if composed.checked.residual.name != "add" and not any(isinstance(module, Residual) for module in model.modules()):
        raise ConfigError(
            f"residual={composed.checked.residual.name}: {name} has no seam; "
            "where it adds x + v, it needs a module `residual()`; see docs/add-a-benchmark.md"
        )
    return model
