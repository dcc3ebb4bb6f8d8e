"""From a `_target_` to its declaration.

kiti's declarations are in the package's `*_keys.py` files; there is no list of them. A file that declares what it
defines is found too, but has to be imported.
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from kiti.units.keys import DECLARED, UnitKeys
from kiti.units.plugins import Plugin, enabled

PACKAGE = Path(__file__).parents[1]


class UndeclaredError(ValueError):
    """A `_target_` without a declaration, in one line."""


def keys_of(target: str) -> type[UnitKeys]:
    """The declaration that builds `target`. Raises UndeclaredError, with a remedy, if there is none."""
    import_declarations()
    if target not in DECLARED:
        _import_home(target)
    if target not in DECLARED:
        raise UndeclaredError(
            f"{target} is not registered: no keys class has builds = {target!r}; see docs/add-a-benchmark.md"
        )
    return DECLARED[target]


def named(base: type[UnitKeys], name: str) -> type[UnitKeys]:
    """The declaration `name` of the group whose base class is `base`. Raises UndeclaredError if there is none."""
    import_declarations()
    if not _of_name(base, name):
        for plugin in enabled():
            plugin.load()
    if not (found := _of_name(base, name)):
        raise UndeclaredError(f"no unit is named {name!r} today; if it is a plug-in's, --plugin <path> enables it")
    return found[0]


def _of_name(base: type[UnitKeys], name: str) -> list[type[UnitKeys]]:
    return [keys for keys in DECLARED.values() if issubclass(keys, base) and keys.name == name]


def plugin_of(target: str) -> Plugin | None:
    """The enabled plug-in that `target` belongs to."""
    return next((one for one in enabled() if target.startswith(f"{one.name}.")), None)


@cache
def import_declarations() -> None:
    """Import every `*_keys.py` of kiti; none imports torch."""
    for path in sorted(PACKAGE.rglob("*_keys.py")):
        import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))


def _import_home(target: str) -> None:
    """Import the module of kiti or the enabled plug-in that may declare `target`, never anything else."""
    module = target.rpartition(".")[0]
    if plugin := plugin_of(target):
        plugin.load()
    elif module.startswith("kiti.") and PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py").is_file():
        import_module(module)
    elif not target.startswith("kiti."):
        raise UndeclaredError(f"{target} belongs to no enabled plug-in; --plugin <path of its Python file> enables one")
