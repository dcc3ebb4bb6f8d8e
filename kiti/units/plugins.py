"""Plug-ins: Python files and packages outside kiti that add data sets, models, tasks and residual kinds.

Only the user enables a plug-in: by `--plugin`, by the variable KITI_PLUGINS, or by installing a package with an entry
point in the group `kiti.plugins`. A configuration, record, checkpoint or sheet that names one does not enable it.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "KITI_PLUGINS"  # separated like PATH; child processes inherit it
GROUP = "kiti.plugins"


class PluginError(ValueError):
    """A plug-in that cannot be used, in one line: what, where, and a remedy."""


@dataclass(frozen=True)
class Plugin:
    """The module `name`, a file or package at `path`."""

    name: str
    path: Path

    @property
    def folder(self) -> Path:
        """The folder with its `conf/` and `experiments/`: beside a file, inside a package."""
        return self.path if self.path.is_dir() else self.path.parent

    def load(self) -> None:
        """Import it, which registers its declarations. It may import torch."""
        # Append, so that files beside the plug-in do not shadow installed packages.
        if str(self.path.parent) not in sys.path:
            sys.path.append(str(self.path.parent))
        try:
            module = import_module(self.name)
        except Exception as error:
            raise PluginError(f"plug-in {self.path}: {type(error).__name__}: {error}") from error
        found = Path(module.__file__ or "").resolve()
        if found != self.path and self.path not in found.parents:
            raise PluginError(f"plug-in {self.path}: {found} has the same name {self.name!r}; rename the plug-in")


def enable(names: list[str]) -> None:
    """Enable plug-ins, given as paths or names of installed modules, for this process and its children."""
    given = [str(Path(name).resolve()) if os.path.exists(name) else name for name in names]
    before = os.environ.get(VARIABLE, "").split(os.pathsep)
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(one for one in (*before, *given) if one))


def take(arguments: list[str]) -> list[str]:
    """Enable the plug-ins in `--plugin NAME` and `--plugin=NAME`; return the other arguments."""
    left, given = [], []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--plugin":
            given.append(next(remaining, ""))
        elif argument.startswith("--plugin="):
            given.append(argument.removeprefix("--plugin="))
        else:
            left.append(argument)
    if "" in given:
        raise PluginError("--plugin needs the path of a Python file or package, or the name of an installed module")
    if given:
        enable(given)
    return left


def enabled() -> tuple[Plugin, ...]:
    """Every enabled plug-in, none of them imported. Raises PluginError if a given path or name has none."""
    return _located(os.environ.get(VARIABLE, ""))


@cache
def _located(variable: str) -> tuple[Plugin, ...]:
    installed = [point.value.split(":")[0] for point in entry_points(group=GROUP)]
    given = [name for name in variable.split(os.pathsep) if name]
    found: dict[str, Plugin] = {}
    for plugin in map(_locate, [*installed, *given]):
        if found.setdefault(plugin.name, plugin) != plugin:
            raise PluginError(f"plug-in {plugin.path}: {found[plugin.name].path} has the same name; rename one")
    return tuple(found.values())


def _locate(name: str) -> Plugin:
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return Plugin(path.stem, path.resolve())
    if (path / "__init__.py").is_file():
        return Plugin(path.resolve().name, path.resolve())
    if os.sep not in name and (spec := _spec(name)) and spec.origin:
        origin = Path(spec.origin).resolve()
        return Plugin(name, origin.parent if spec.submodule_search_locations else origin)
    raise PluginError(f"plug-in {name}: no Python file, no package and no installed module")


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):
        return None


def folders(name: str) -> Iterator[Path]:
    """The folders `name`, conf or experiments, of the plug-ins that have one."""
    for plugin in enabled():
        if (plugin.folder / name).is_dir():
            yield plugin.folder / name
