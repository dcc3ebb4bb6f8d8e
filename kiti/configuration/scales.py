"""A run's scale is the one whose file was merged.

conf/experiment/scale/<experiment>_<scale>.yaml holds an experiment's settings at a scale; scale=paper needs no file.
Hydra merges the file if there is one and is silent if there is none. So every composed configuration is checked.
"""

from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kiti.configuration.explain import ConfigError

GROUP = "experiment/scale"
PAPER = "paper"


class ScaleError(ConfigError):
    """A scale that the experiment lacks, or settings of another one."""


def check(node: DictConfig, runtime: Any) -> None:
    """Raise ScaleError unless `node` has the settings of its experiment at its scale.

    Args:
        node: the composed configuration.
        runtime: Hydra's `hydra.runtime` of the same composition.
    """
    choices, folders = dict(runtime.choices.items()), list(_folders(runtime))
    for key in choices:
        group = str(key).partition("@")[0]
        if group != key and group in {"experiment", "scale", GROUP}:
            raise ScaleError(f"{key}: merged a second time, over the scale's settings; give {group}=<option> once")
    experiment, scale, merged = (choices.get(group) for group in ("experiment", "scale", GROUP))
    if experiment not in (known := experiments(folders)):
        given = "give one experiment=<option>" if experiment is None else f"experiment={experiment}: no such option"
        raise ScaleError(f"{given}; there are {', '.join(known)}")
    _require("experiment", experiment, node)
    if scale not in (existing := scales_of(experiment, folders)):
        raise ScaleError(_unknown(scale, experiment, existing))
    _require("scale", scale, node)
    if merged != f"{experiment}_{scale}":
        given = f"~{GROUP}" if merged is None else f"{GROUP}={merged}"
        has = f"{experiment} has {', '.join(existing)}"
        raise ScaleError(f"{given}: this file follows from experiment and scale; give scale=<option> alone, {has}")


def unknown(scale: str, node: DictConfig, runtime: Any) -> str:
    """What to say of a scale that does not exist, to one who chose `node`'s experiment."""
    return _unknown(scale, node.experiment, scales_of(node.experiment, list(_folders(runtime))))


def _unknown(scale: object, experiment: str, existing: list[str]) -> str:
    return f"scale={scale}: {experiment} has no such scale; it has {', '.join(existing)}"


def _require(key: str, chosen: str, node: DictConfig) -> None:
    """ScaleError unless the files set `key` to the option's name: it is what records and run directories contain."""
    found = OmegaConf.select(node, key, throw_on_missing=False)
    if found != chosen:
        instead = "" if found is None else f", not `{key}: {found}`"
        raise ScaleError(f"{key}={chosen}: the YAML of this option must say `{key}: {chosen}`{instead}")


def experiments(folders: list[Path]) -> list[str]:
    """Every experiment in these folders conf/."""
    found: set[str] = set()
    for folder in (conf / "experiment" for conf in folders):
        names = (path.relative_to(folder).with_suffix("") for path in folder.rglob("[!_]*.yaml"))
        found |= {name.as_posix() for name in names if name.parts[0] != "scale"}
    return sorted(found)


def scales_of(experiment: str, folders: list[Path]) -> list[str]:
    """The scales of an experiment that exists in one of these folders conf/."""
    known = {path.stem for conf in folders for path in (conf / "scale").glob("*.yaml")}
    files = [conf / GROUP for conf in folders]
    return sorted(s for s in known if s == PAPER or any((of / f"{experiment}_{s}.yaml").is_file() for of in files))


def _folders(runtime: Any) -> Iterator[Path]:
    """The folders that Hydra reads: conf/, those of plug-ins, and what the user adds to the search path."""
    for source in runtime.config_sources:
        if source.schema == "file":
            yield Path(source.path)
        elif source.schema == "pkg" and (spec := _spec(source.path.replace("/", "."))):
            yield from map(Path, spec.submodule_search_locations or ())


def _spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except ImportError:
        return None
