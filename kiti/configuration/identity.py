"""The identity of a configured run: its hash, what a record keeps, and the revisions and sources behind it.

Each field's `Role`, defined in `kiti.units.keys`, determines how it counts.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from kiti.configuration.schema import GROUPS, Config
from kiti.units.keys import Role, Strict, UnitKeys
from kiti.units.registry import named, plugin_of
from kiti.units.sources import digest, file_digest, files_of

Revisions = dict[str, int | str]


def _role(metadata: list[Any]) -> Role | None:
    return next((one for one in metadata if isinstance(one, Role)), None)


HASHED = tuple(group for group in GROUPS if _role(Config.model_fields[group].metadata) is None)
"""The groups that a hash covers."""


def config_hash(config: Config) -> str:
    """12 hex digits over everything that affects the result except the seed.

    A target is represented by its name and revisions. A key at its neutral default is left out.
    """
    return _digest(_plain(config, set(Role), defaults=False), revisions(config))


def hash_of(recorded: Mapping[str, Any], found: Revisions) -> str:
    """The hash of a configuration as a record keeps it, with the revisions beside it.

    Raises UndeclaredError or KeyError if it names a unit that no longer exists, or lacks a group.
    """
    return _digest({group: _hashed(group, recorded[group]) for group in HASHED}, found)


def recorded(config: Config) -> dict[str, Any]:
    """The configuration as a record keeps it: without the seed and this machine's paths."""
    return _plain(config, {Role.NOT_RECORDED, Role.PLACE}, defaults=True)


def split_overrides(config: Config, overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """The overrides in two lists: the second has those that set paths on this machine."""
    places = set(_places(config))
    kept: tuple[list[str], list[str]] = ([], [])
    for override in overrides:
        kept[override.split("=", 1)[0].lstrip("+~") in places].append(override)
    return kept


def revisions(config: Config) -> Revisions:
    """The revisions of the units; for a plug-in's unit, the digest of its sources.

    Keys are groups, or group and name for further counters of a unit: `residual`, `residual.collide`.
    """
    found: Revisions = {}
    for group, unit in _hashed_units(config).items():
        if plugin_of(unit.target):
            found[group] = digest(files_of(unit.target))
            continue
        for name, number in unit.revisions().items():
            found[group if name == "revision" else f"{group}.{name}"] = number
    return dict(sorted(found.items()))


def fingerprint(config: Config) -> dict[str, str]:
    """A digest of the source files behind each unit, by group."""
    files = {group: files_of(unit.target) for group, unit in _hashed_units(config).items()}
    return {group: digest(found) for group, found in files.items() if found}


def sources(config: Config) -> dict[str, str]:
    """The digest of every source file behind the units, by module."""
    files = {name: path for unit in _hashed_units(config).values() for name, path in files_of(unit.target).items()}
    return {name: file_digest(path) for name, path in sorted(files.items())}


def _hashed_units(config: Config) -> dict[str, UnitKeys]:
    return {group: unit for group, unit in config.units().items() if group in HASHED}


def _digest(hashed: Mapping[str, Any], found: Revisions) -> str:
    content = json.dumps({**hashed, "revisions": found}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _hashed(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recorded group that counts, as `_plain` has it. A key that no longer exists was neutral."""
    if not node:
        return {}
    fields = named(GROUPS[group], node["unit"]).model_fields
    return {"unit": node["unit"]} | _counted(fields, node)


def _counted(fields: Mapping[str, FieldInfo], node: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded values of those fields that count."""
    neutral = {key: _json(field.get_default(call_default_factory=True)) for key, field in fields.items()}
    counted = {key for key, field in fields.items() if _role(field.metadata) is None} - {"target", "partial"}
    found = {key: node[key] for key in counted & node.keys() if node[key] != neutral[key]}
    for key in found:
        if inner := _of_many(fields[key]):
            found[key] = {name: _counted(inner.model_fields, one) for name, one in found[key].items()}
    return found


def _of_many(field: FieldInfo) -> type[Strict] | None:
    """What the values are of a field that maps names to nodes; None for other fields."""
    value = get_args(field.annotation)[1:]
    return value[0] if value and isinstance(value[0], type) and issubclass(value[0], Strict) else None


def _json(default: Any) -> Any:
    """A default as it is recorded."""
    return list(default) if isinstance(default, tuple) else default


def _plain(node: Strict, left_out: set[Role], defaults: bool) -> dict[str, Any]:
    """The node as JSON types, without fields whose role is in `left_out`."""
    found: dict[str, Any] = {"unit": node.name} if isinstance(node, UnitKeys) else {}
    for key, field in type(node).model_fields.items():
        value = getattr(node, key)
        if key in {"target", "partial"} or _role(field.metadata) in left_out:
            continue
        if not defaults and value == field.get_default(call_default_factory=True):
            continue
        if isinstance(value, Strict):
            found[key] = _plain(value, left_out, defaults)
        elif _of_many(field):
            found[key] = {name: _plain(one, left_out, defaults) for name, one in value.items()}
        else:
            found[key] = node.model_dump(mode="json", include={key})[key]
    return found


def _places(node: Strict, prefix: str = "") -> Iterable[str]:
    for key, field in type(node).model_fields.items():
        if _role(field.metadata) is Role.PLACE:
            yield prefix + key
        if isinstance(value := getattr(node, key), Strict):
            yield from _places(value, f"{prefix}{key}.")
        elif _of_many(field):
            for name, one in value.items():
                yield from _places(one, f"{prefix}{key}.{name}.")
