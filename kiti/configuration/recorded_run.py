"""A finished run composed from its record, so that what was changed in conf/ since does not matter.

A record leaves out the seed, which it has beside its configuration, and what belongs to a machine: paths, the number
of workers. Today's options of the recorded units fill these in.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from kiti.configuration import explain, identity
from kiti.configuration.compose import Composed, check, search_path
from kiti.configuration.explain import ConfigError
from kiti.configuration.locations import CONF
from kiti.configuration.schema import GROUPS
from kiti.storage.records import Record
from kiti.units import plugins
from kiti.units.registry import UndeclaredError, named

_OF_THE_RECORD = ("collision_defaults", "neurons")
_OF_NO_MATTER = {"logger"}  # what was logged


def compose_recorded(record: Record, overrides: Sequence[str] = ()) -> Composed:
    """The recorded run with its own values, changed by `overrides`. Raises ConfigError.

    An override `group=option` takes this option as it is today instead of the recorded one.
    """
    try:
        given = OverridesParser.create().parse_overrides([*overrides])
        chosen = {one.key_or_group: str(one.value()) for one in given if one.key_or_group in GROUPS}
        recorded = {name: node for name, node in record.config.items() if name in GROUPS and name not in _OF_NO_MATTER}
        node = _composed({name: _option(name, values) for name, values in recorded.items()} | chosen)
        with open_dict(node):
            node.update({key: record.config[key] for key in _OF_THE_RECORD})
            node.update({"experiment": record.experiment, "scale": record.scale, "seed": record.seed})
            for name in recorded.keys() - chosen.keys():
                node[name].update({key: value for key, value in recorded[name].items() if key != "unit"})
            places = OverridesParser.create().parse_overrides(record.places or [])
            for one in [*places, *given]:
                if one.key_or_group not in chosen:
                    _set(node, one)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain.line(error, lambda: explain.flat(record.config))) from error
    except (KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"the record's configuration is incomplete: {type(error).__name__}: {error}") from error
    return check(node)


def changed_revisions(record: Record, composed: Composed) -> str:
    """One line about units whose results have changed since the record, empty if there are none."""
    today = identity.revisions(composed.checked)
    changed = [
        f"{name}: {record.revisions[name]}, today {today[name]}"
        for name in sorted(record.revisions.keys() & today.keys())
        if record.revisions[name] != today[name]
    ]
    return f"recorded at other revisions ({'; '.join(changed)}), so results may differ" if changed else ""


def _composed(options: Mapping[str, str]) -> DictConfig:
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        choices = [f"{group}={option}" for group, option in sorted(options.items())]
        return hydra.compose("evaluate", overrides=[*choices, *search_path()])


def _option(group: str, recorded: Mapping[str, Any]) -> str:
    """The option of conf/<group>/ that builds the recorded unit; of several, the one with most of its values.

    The name of an encoder, say, tells where it lies, which a record leaves out.
    """
    if not recorded:
        return "none"
    try:
        target = named(GROUPS[group], recorded["unit"]).builds
    except UndeclaredError as error:
        raise ConfigError(f"{group}: {error}") from error
    files = [path for conf in (CONF, *plugins.folders("conf")) for path in sorted((conf / group).glob("[!_]*.yaml"))]
    contents = {path.stem: content for path in files if (content := _content(path)).get("_target_") == target}
    if not contents:
        raise ConfigError(
            f"{group}: no file in conf/{group}/ has _target_: {target}, the recorded {recorded['unit']!r}"
        )

    def likeness(option: str) -> tuple[int, bool]:
        values = contents[option]
        return sum(values[key] == recorded[key] for key in values.keys() & recorded.keys()), option == recorded["unit"]

    return max(contents, key=likeness)


def _content(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    return content if isinstance(content, dict) else {}


def _set(node: DictConfig, override: Override) -> None:
    key = override.key_or_group
    if key in {"experiment", "scale"}:
        raise ConfigError(f"{key}={override.value()}: the record's own is used; leave it out")
    if override.is_delete():
        raise ConfigError(f"~{key}: only changes are possible here, as {key}=<value>")
    parent = OmegaConf.select(node, key.rpartition(".")[0]) if "." in key else node
    if not override.is_add() and (not isinstance(parent, DictConfig) or key.rpartition(".")[2] not in parent):
        known = explain.flat(OmegaConf.to_container(node, resolve=False))
        raise ConfigError(explain.unknown_key(key, known))
    OmegaConf.update(node, key, override.value(), force_add=True)
